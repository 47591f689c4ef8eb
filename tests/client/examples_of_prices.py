"""As examples.py, of calls that are about usage, prices, and the money in the books."""

from datetime import timedelta
from decimal import Decimal

import scrip
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1 import accounts_pb2 as accounts
from scrip.v1 import credit_service_pb2 as credit
from scrip.v1 import ledger_service_pb2 as ledger
from scrip.v1 import pricing_service_pb2 as pricing
from scrip.v1.types_pb2 import Usage

from tests.client.examples import ACME, CALLS_OF_ACME, MEMO, NOON, TOKENS, WRITTEN_MEMO, WRITTEN_NOON

CHAT = scrip.Usage(
    provider="openai",
    operation="chat",
    dimensions={"model": "gpt-5"},
    quantities={"input_token": 1832, "output_token": 2**63 - 1},
    bundled=["search"],
)
WRITTEN_CHAT = Usage(
    provider="openai",
    operation="chat",
    dimensions={"model": "gpt-5"},
    quantities={"input_token": 1832, "output_token": 2**63 - 1},
    bundled=["search"],
)
CALL = scrip.Usage(provider="scrip", operation="call")
WRITTEN_CALL = Usage(provider="scrip", operation="call")
CHARGE = scrip.Charge(card="gpt-5", version=2, usage=WRITTEN_CHAT, exact="12.5", amount=13)
CARD = scrip.ListedRateCard(card="gpt-5", provider="openai", operations=["chat"], version=2)

USAGE = {
    "check what usage costs": (
        lambda client: client.check("acme", usage=CHAT, asset="calls"),
        credit.CheckRequest(**CALLS_OF_ACME, usage=WRITTEN_CHAT),
        credit.CheckResponse(allowed=True, amount=13, charge=CHARGE),
        credit.CheckResponse(allowed=True, amount=13, charge=CHARGE),
    ),
    "deduct what usage costs": (
        lambda client: client.check_and_deduct("acme", usage=CHAT, mode="record", request_id="r-1", **MEMO),
        credit.CheckAndDeductRequest(
            **ACME,
            usage=WRITTEN_CHAT,
            mode=credit.CheckAndDeductRequest.MODE_RECORD,
            request_id="r-1",
            memo=WRITTEN_MEMO,
        ),
        credit.CheckAndDeductResponse(deducted=13, charge=CHARGE),
        credit.CheckAndDeductResponse(deducted=13, charge=CHARGE),
    ),
    "deduct for usage as a charge tells it": (
        lambda client: client.check_and_deduct("acme", usage=CHARGE.usage, request_id="r-1"),
        credit.CheckAndDeductRequest(
            **ACME, usage=WRITTEN_CHAT, mode=credit.CheckAndDeductRequest.MODE_AUTHORIZE, request_id="r-1"
        ),
        credit.CheckAndDeductResponse(),
        credit.CheckAndDeductResponse(),
    ),
    "capture what usage costs": (
        lambda client: client.capture("hd_1", usage=CALL, final=False, request_id="r-1"),
        credit.CaptureRequest(hold_id="hd_1", usage=WRITTEN_CALL, final=False, request_id="r-1"),
        credit.CaptureResponse(captured=13, charge=CHARGE),
        credit.CaptureResponse(captured=13, charge=CHARGE),
    ),
    "grant what was sold as a package": (
        lambda client: client.grant("acme", 100, "purchase", cost=(1999, "EUR"), package="starter", request_id="r-1"),
        credit.GrantRequest(
            **ACME,
            amount=100,
            source=scrip.Source.SOURCE_PURCHASE,
            cost=scrip.Money(minor_units=1999, currency="EUR"),
            package="starter",
            request_id="r-1",
        ),
        credit.GrantResponse(lot_id="lt_1"),
        credit.GrantResponse(lot_id="lt_1"),
    ),
    "revoke and write off what is spent": (
        lambda client: client.revoke("lt_1", spent="write_off", request_id="r-1"),
        accounts.RevokeRequest(lot_id="lt_1", spent=accounts.RevokeRequest.SPENT_WRITE_OFF, request_id="r-1"),
        accounts.RevokeResponse(revoked=100),
        accounts.RevokeResponse(revoked=100),
    ),
}

PRICES = {
    "quote": (
        lambda client: client.quote(CHAT),
        pricing.QuoteRequest(asset="credits", usage=WRITTEN_CHAT),
        pricing.QuoteResponse(amount=13, charge=CHARGE),
        pricing.QuoteResponse(amount=13, charge=CHARGE),
    ),
    "quote at noon": (
        lambda client: client.quote(WRITTEN_CALL, asset="calls", at=NOON),
        pricing.QuoteRequest(asset="calls", usage=WRITTEN_CALL, at=WRITTEN_NOON),
        pricing.QuoteResponse(),
        pricing.QuoteResponse(),
    ),
    "quote for a customer": (
        lambda client: client.quote_for("acme", CHAT, asset="calls"),
        pricing.QuoteForRequest(**CALLS_OF_ACME, usage=WRITTEN_CHAT),
        pricing.QuoteForResponse(amount=13, shortfall=3, reason="INSUFFICIENT_CREDITS"),
        pricing.QuoteForResponse(amount=13, shortfall=3, reason="INSUFFICIENT_CREDITS"),
    ),
    "apply a rate card with all there is": (
        lambda client: client.apply_rate_cards(
            [
                scrip.RateCard(
                    card="gpt-5",
                    provider="openai",
                    operations=["chat", "chat/batch"],
                    dimensions={"model": "gpt-5*"},
                    fixed=1,
                    meters=[
                        scrip.Meter(
                            unit="input_token", rate=Decimal("1.25E-7"), per=1000, step=10, minimum=100, free=5
                        ),
                        scrip.Meter(
                            unit="output_token",
                            tiers=[scrip.Tier(rate="0.5", up_to=10), scrip.Tier(rate=Decimal(2))],
                            tiering="graduated",
                        ),
                    ],
                    minimum="0.1",
                    rounding="half_even",
                    period="month",
                    discount=scrip.Discount(percent=Decimal("12.5"), since=NOON, until=NOON + timedelta(seconds=1)),
                    description="from the price list of spring",
                    effective_at=NOON,
                    retired=True,
                ),
                CARD,
            ],
            asset="calls",
            retire_others=True,
            preview=True,
            revision=7,
        ),
        pricing.ApplyRateCardsRequest(
            asset="calls",
            cards=[
                pricing.RateCard(
                    card="gpt-5",
                    provider="openai",
                    operations=["chat", "chat/batch"],
                    dimensions={"model": "gpt-5*"},
                    fixed="1",
                    meters=[
                        pricing.Meter(unit="input_token", rate="0.000000125", per=1000, step=10, minimum=100, free=5),
                        pricing.Meter(
                            unit="output_token",
                            per=1,
                            step=1,
                            tiers=[pricing.Tier(rate="0.5", up_to=10), pricing.Tier(rate="2")],
                            tiering=pricing.Meter.TIERING_GRADUATED,
                        ),
                    ],
                    minimum="0.1",
                    rounding=pricing.RateCard.ROUNDING_HALF_EVEN,
                    period=pricing.RateCard.PERIOD_MONTH,
                    discount=pricing.Discount(
                        percent="12.5", since=WRITTEN_NOON, until=Timestamp(seconds=WRITTEN_NOON.seconds + 1)
                    ),
                    description="from the price list of spring",
                    effective_at=WRITTEN_NOON,
                    retired=True,
                ),
                CARD,
            ],
            retire_others=True,
            preview=True,
            revision=7,
        ),
        pricing.ApplyRateCardsResponse(changes=[scrip.RateCardChange(after=CARD)], revision=8),
        pricing.ApplyRateCardsResponse(changes=[scrip.RateCardChange(after=CARD)], revision=8),
    ),
    "apply a rate card with as little as possible": (
        lambda client: client.apply_rate_cards([scrip.RateCard(card="any", provider="*", operations=["*"], fixed=3)]),
        pricing.ApplyRateCardsRequest(
            asset="credits",
            cards=[
                pricing.RateCard(
                    card="any", provider="*", operations=["*"], fixed="3", rounding=pricing.RateCard.ROUNDING_UP
                )
            ],
        ),
        pricing.ApplyRateCardsResponse(),
        pricing.ApplyRateCardsResponse(),
    ),
    "the rate card in effect": (
        lambda client: client.rate_card("gpt-5"),
        pricing.GetRateCardRequest(asset="credits", card="gpt-5"),
        pricing.GetRateCardResponse(card=CARD),
        CARD,
    ),
    "a rate card as it was": (
        lambda client: client.rate_card("gpt-5", asset="calls", version=2),
        pricing.GetRateCardRequest(asset="calls", card="gpt-5", version=2),
        pricing.GetRateCardResponse(card=CARD),
        CARD,
    ),
    "rate cards": (
        lambda client: client.rate_cards(),
        pricing.ListRateCardsRequest(asset="credits"),
        pricing.ListRateCardsResponse(cards=[CARD]),
        (CARD,),
    ),
    "rate cards in all versions": (
        lambda client: client.rate_cards(asset="calls", all_versions=True),
        pricing.ListRateCardsRequest(asset="calls", all_versions=True),
        pricing.ListRateCardsResponse(cards=[CARD, CARD]),
        (CARD, CARD),
    ),
    "configure a card for what has no price": (
        lambda client: client.configure_asset("tokens", default_card="any"),
        ledger.ConfigureAssetRequest(asset="tokens", policy=ledger.AssetPolicy(default_card="any")),
        ledger.ConfigureAssetResponse(asset=TOKENS),
        TOKENS,
    ),
}

MONEY = {
    "trial balance of all money": (
        lambda client: client.money_trial_balance(),
        ledger.MoneyTrialBalanceRequest(),
        ledger.MoneyTrialBalanceResponse(as_of=WRITTEN_NOON),
        ledger.MoneyTrialBalanceResponse(as_of=WRITTEN_NOON),
    ),
    "trial balance of one currency at noon": (
        lambda client: client.money_trial_balance(currency="EUR", as_of=NOON),
        ledger.MoneyTrialBalanceRequest(currency="EUR", as_of=WRITTEN_NOON),
        ledger.MoneyTrialBalanceResponse(),
        ledger.MoneyTrialBalanceResponse(),
    ),
    "revenue until now": (
        lambda client: client.revenue(NOON),
        ledger.RevenueReportRequest(since=WRITTEN_NOON),
        ledger.RevenueReportResponse(rows=[scrip.RevenueRow(package="starter", currency="EUR", sold="1999")]),
        ledger.RevenueReportResponse(rows=[scrip.RevenueRow(package="starter", currency="EUR", sold="1999")]),
    ),
    "revenue of a second": (
        lambda client: client.revenue(NOON, NOON + timedelta(seconds=1)),
        ledger.RevenueReportRequest(since=WRITTEN_NOON, until=Timestamp(seconds=WRITTEN_NOON.seconds + 1)),
        ledger.RevenueReportResponse(),
        ledger.RevenueReportResponse(),
    ),
}
