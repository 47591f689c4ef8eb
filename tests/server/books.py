"""Books to be misused: whatever is asked of them wrongly, they must stay as they are."""

from dataclasses import dataclass
from typing import Any, Self

from google.protobuf.duration_pb2 import Duration
from scrip.v1.types_pb2 import Memo

from ledger import AccountName, IdPrefix, parse_id, public_id
from tests.books import ACME, SECOND, Clock, rows_of
from tests.server.asking import Asking, Told

MEMO = {"description": "for you", "reference": "R-1", "actor": "me", "metadata": {"team": "a"}}
NOBODY = AccountName(tenant="default", account_id="nobody", asset="credits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Two customers, a minute after all was written.

    acme has 40 of its 100 credits available and 60 held; the request_ids of its entries are opening, grant, deduct,
    hold, capture and release. beta has 99 credits and one more held. acme also has 100 tokens, of scale 6.
    """

    url: str
    ask: Asking
    open_hold: str
    captured_hold: str
    released_hold: str
    lapsed_hold: str
    entry: str
    page_token: str
    page_token_of_beta: str
    page_token_of_tokens: str

    @classmethod
    def written(cls, url: str, ask: Asking, clock: Clock) -> Self:
        memo = Memo(**MEMO)
        ask("DefineAsset", asset="tokens", scale=6)
        for account_id, asset in (("acme", None), ("beta", None), ("acme", "tokens")):
            ask("OpenAccount", request_id="opening", account_id=account_id, asset=asset)
            ask("Grant", request_id="grant", account_id=account_id, asset=asset, amount=100, memo=memo)
        ask("Hold", account_id="beta")
        captured, released = ask("Hold").hold_id, ask("Hold").hold_id
        ask("Capture", request_id="capture", hold_id=captured, amount=0)
        ask("Release", request_id="release", hold_id=released)
        books = cls(
            url=url,
            ask=ask,
            open_hold=ask("Hold", request_id="hold", amount=60).hold_id,
            captured_hold=captured,
            released_hold=released,
            lapsed_hold=ask("Hold", ttl=Duration(seconds=1)).hold_id,
            entry=ask("GetEntry", entry_id=public_id(IdPrefix.ENTRY, ACME.key, 2)).entry.entry_id,
            page_token=ask("History", page_size=1).next_page_token,
            page_token_of_beta=ask("History", account_id="beta", page_size=1).next_page_token,
            page_token_of_tokens=ask("History", asset="tokens", page_size=1).next_page_token,
        )
        clock.now += 60 * SECOND
        # Any operation writes what has run out before; from here on nothing has.
        ask.refusal("CheckAndDeduct", amount=1_000)
        return books

    def refusal(self, rpc: str, **fields: Any) -> Told:
        """The error that a request is answered with; nothing else may become of it."""
        before = rows_of(self.url)
        told = self.ask.refusal(rpc, **fields)
        assert rows_of(self.url) == before
        return told

    def not_ids(self, prefix: IdPrefix) -> dict[str, str]:
        """Texts that name nothing, though some look as if they did."""
        key, number = parse_id(IdPrefix.HOLD, self.open_hold)
        real = public_id(prefix, key, number)
        other = IdPrefix.ENTRY if prefix is IdPrefix.HOLD else IdPrefix.HOLD
        return {
            "made up": f"{prefix}nonsense",
            "without a prefix": real.removeprefix(prefix),
            "of another prefix": public_id(other, key, number),
            "of a lot": public_id(IdPrefix.LOT, ACME.key, 2),
            "truncated": real[:-1],
            "one character longer": f"{real}a",
            "in capitals": real.upper(),
            "with a space": f"{real} ",
            "with a NUL": f"{real}\0",
            "a hundred thousand characters long": f"{prefix}{'a' * 100_000}",
            "of emojis": f"{prefix}{'😀' * 100_000}",
            "of the entry 0": public_id(prefix, key, 0),
            "of an entry to come": public_id(prefix, key, 1_000),
            "of the largest number": public_id(prefix, key, 2**63 - 1),
            "of a larger number": public_id(prefix, key, 2**63),
            "of nobody": public_id(prefix, NOBODY.key, number),
        }
