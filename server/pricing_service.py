"""PricingService: what usage costs."""

from scrip.v1 import pricing_service_pb2 as pb
from scrip.v1.pricing_service_pb2_grpc import PricingServiceServicer

from ledger import DEFAULT_ASSET, Ledger
from server.answering import Context, Reader, answering, tenant_of
from server.messages import quote_message
from server.price_messages import card_message, change_message, charge_message
from server.price_requests import cards_of, usage_of
from server.requests import account_name, given_instant


@answering
class PricingService(PricingServiceServicer):
    """Answers from the ledger; every rule is there."""

    def __init__(self, ledger: Ledger, read: Reader) -> None:
        self._ledger = ledger
        self._read = read

    async def Quote(self, request: pb.QuoteRequest, context: Context) -> pb.QuoteResponse:
        charge = await self._read(
            self._ledger.quote,
            tenant_of(context),
            request.asset or DEFAULT_ASSET,
            usage_of(request.usage),
            given_instant("at", request),
        )
        return pb.QuoteResponse(amount=charge.amount, charge=charge_message(charge))

    async def QuoteFor(self, request: pb.QuoteForRequest, context: Context) -> pb.QuoteForResponse:
        name = account_name(tenant_of(context), request.account_id, request.asset)
        found = await self._read(self._ledger.check, name, usage=usage_of(request.usage))
        return quote_message(found)

    async def ApplyRateCards(self, request: pb.ApplyRateCardsRequest, context: Context) -> pb.ApplyRateCardsResponse:
        found = await self._read(
            self._ledger.apply_rate_cards,
            tenant_of(context),
            request.asset or DEFAULT_ASSET,
            cards_of(request.cards),
            retire_others=request.retire_others,
            preview=request.preview,
            revision=request.revision if request.HasField("revision") else None,
        )
        changes = [change_message(change) for change in found.changes]
        return pb.ApplyRateCardsResponse(changes=changes, revision=found.revision)

    async def GetRateCard(self, request: pb.GetRateCardRequest, context: Context) -> pb.GetRateCardResponse:
        asset = request.asset or DEFAULT_ASSET
        found = await self._read(self._ledger.rate_card, tenant_of(context), asset, request.card, request.version)
        return pb.GetRateCardResponse(card=card_message(found))

    async def ListRateCards(self, request: pb.ListRateCardsRequest, context: Context) -> pb.ListRateCardsResponse:
        asset = request.asset or DEFAULT_ASSET
        found = await self._read(self._ledger.rate_cards, tenant_of(context), asset, all_versions=request.all_versions)
        return pb.ListRateCardsResponse(cards=[card_message(card) for card in found])
