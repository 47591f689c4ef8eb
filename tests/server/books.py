"""Books to be misused: whatever is asked of them wrongly, they must stay as they are."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Self

from google.protobuf.duration_pb2 import Duration
from scrip.v1.accounts_pb2 import SpendLimit, SpendLimits
from scrip.v1.types_pb2 import Memo

from ledger import AccountName, IdPrefix, parse_id, public_id
from tests.books import ACME, SECOND, Clock, rows_of
from tests.server.asking import CHAT_CARD, PARTS, Asking, Told

MEMO = {"description": "for you", "reference": "R-1", "actor": "me", "metadata": {"team": "a"}}
NOBODY = AccountName(tenant="default", account_id="nobody", asset="credits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Two customers, a minute after all was written.

    acme has 40 of its 100 credits available and 60 held; the request_ids of its entries are opening, grant, deduct,
    hold, capture and release. beta has 99 credits and one more held. acme also has 100 tokens, of scale 6.

    buyer has 80 of 100 credits; of a deduction of 50, which is `deduction`, 30 were refunded; the lot is `lot`.
    frozen is frozen, with 10 credits, 2 of them held by `frozen_hold`, which tolerates 1 more.
    closed is closed, and had a lot that was revoked, `closed_lot`. poor owes 20 credits.
    limited may spend 100 of its 1,000 credits a day, and has spent 80. artist has 100 credits, 60 of them for image/*
    alone, and may owe 5.

    chat is the one rate card.
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
    deduction: str
    lot: str
    frozen_hold: str
    closed_lot: str
    rows: dict[str, Counter[str]]

    @classmethod
    def written(cls, url: str, ask: Asking, clock: Clock) -> Self:
        memo = Memo(**MEMO)
        ask("DefineAsset", asset="tokens", scale=6)
        ask("ApplyRateCards", cards=[CHAT_CARD])
        for account_id, asset in (("acme", None), ("beta", None), ("acme", "tokens")):
            ask("OpenAccount", request_id="opening", account_id=account_id, asset=asset)
            ask("Grant", request_id="grant", account_id=account_id, asset=asset, amount=100, memo=memo)
        ask("Hold", account_id="beta")
        captured, released = ask("Hold").hold_id, ask("Hold").hold_id
        ask("Capture", request_id="capture", hold_id=captured, amount=0)
        ask("Release", request_id="release", hold_id=released)
        deduction, lot = _trade(ask)
        frozen_hold, closed_lot = _administer(ask)
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
            deduction=deduction,
            lot=lot,
            frozen_hold=frozen_hold,
            closed_lot=closed_lot,
            rows={},
        )
        clock.now += 60 * SECOND
        # Any operation writes what has run out before; from here on nothing has.
        ask.refusal("CheckAndDeduct", amount=1_000)
        return replace(books, rows=rows_of(url))

    def refusal(self, rpc: str, **fields: Any) -> Told:
        """The error that a request is answered with; nothing else may become of it."""
        told = self.ask.refusal(rpc, **fields)
        assert rows_of(self.url) == self.rows
        return told

    def part(self, rpc: str) -> dict[str, str]:
        """The part of an account that a request has to name."""
        parts = {"hold_id": self.open_hold, "entry_id": self.deduction, "lot_id": self.lot}
        return {PARTS[rpc]: parts[PARTS[rpc]]} if rpc in PARTS else {}

    def not_ids(self, prefix: IdPrefix) -> dict[str, str]:
        """Texts that name nothing, though some look as if they did."""
        key, number = parse_id(IdPrefix.HOLD, self.open_hold)
        real = public_id(prefix, key, number)
        other = IdPrefix.ENTRY if prefix is IdPrefix.HOLD else IdPrefix.HOLD
        return {
            "made up": f"{prefix}nonsense",
            "without a prefix": real.removeprefix(prefix),
            "of another prefix": public_id(other, key, number),
            "of a page": public_id(IdPrefix.PAGE, ACME.key, 2),
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


def _trade(ask: Asking) -> tuple[str, str]:
    """The accounts of buyer, limited and artist."""
    for account_id in ("buyer", "limited", "artist"):
        ask("OpenAccount", account_id=account_id)
    lot = ask("Grant", account_id="buyer", amount=100).lot_id
    deduction = ask("CheckAndDeduct", account_id="buyer", amount=50).entry_id
    ask("Refund", entry_id=deduction, amount=30)

    daily = SpendLimit(name="daily", window=SpendLimit.WINDOW_DAY, amount=100)
    ask("Grant", account_id="limited", amount=1_000)
    ask("UpdateAccount", account_id="limited", limits=SpendLimits(limits=[daily]))
    ask("CheckAndDeduct", account_id="limited", amount=80)

    ask("Grant", account_id="artist", amount=40)
    ask("Grant", account_id="artist", amount=60, scope=["image/*"])
    ask("UpdateAccount", account_id="artist", overdraft_limit=5)
    return deduction, lot


def _administer(ask: Asking) -> tuple[str, str]:
    """The accounts of frozen, closed and poor."""
    for account_id in ("frozen", "closed", "poor"):
        ask("OpenAccount", account_id=account_id)
    ask("Grant", account_id="frozen", amount=10)
    frozen_hold = ask("Hold", account_id="frozen", amount=2, tolerance=1).hold_id
    ask("FreezeAccount", account_id="frozen")

    closed_lot = ask("Grant", account_id="closed", amount=1).lot_id
    ask("Revoke", lot_id=closed_lot)
    ask("CloseAccount", account_id="closed")

    ask("CheckAndDeduct", account_id="poor", amount=20, mode="MODE_RECORD")
    return frozen_hold, closed_lot
