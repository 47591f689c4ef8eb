"""What callers were told, compared with what is in the books."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message
from scrip.v1.accounts_pb2 import AdjustRequest, MergeAccountsRequest, RevokeRequest, WriteOffRequest
from scrip.v1.credit_service_pb2 import (
    CaptureRequest,
    CheckAndDeductRequest,
    GrantRequest,
    RefundRequest,
    TransferRequest,
)
from sqlalchemy import func, select

from ledger import AccountKey, AccountName, Code, IdPrefix, parse_id
from ledger.tables import entries, lines
from tests.faults.customers import one_sided, stored
from tests.faults.load import Asked

# The other side of the books, but for what lapses whatever anybody asks.
MOVED = (Code.PROMOTIONS, Code.ADJUSTMENTS, Code.REVENUE, Code.TRANSFERS)
Moved = Counter[tuple[AccountKey, Code]]


def assert_written_once(url: str, answered: Iterable[Asked], unanswered: Iterable[Asked]) -> Moved:
    """Every change that was told is in the books, once, where and as its answer says.

    Besides them there is only what was not answered, and of that the whole or nothing.

    returns   what was told to be moved; see _moves
    """
    told: dict[tuple[AccountKey, str], int] = {}
    moved: Moved = Counter()
    for asked in answered:
        for name, request, answer in asked.accepted():
            key, number = parse_id(IdPrefix.ENTRY, answer.entry_id)
            assert key == name.key
            if (key, request.request_id) not in told:
                moved.update(_moves(name, request, answer))
            assert told.setdefault((key, request.request_id), number) == number
    asked_for = entries.c.request_id.is_not(None)
    written = stored(url, select(entries.c.account_key, entries.c.request_id, entries.c.seq).where(asked_for))
    found = {(key, request_id): number for key, request_id, number in written}
    assert len(found) == len(written)
    unheard = 0
    for asked in unanswered:
        places = [(name.key, change.request_id) for name, change in zip(asked.names, asked.changes, strict=True)]
        done = {found.pop(place, None) is not None for place in places if place not in told}
        assert len(done) <= 1 or not asked.request.atomic
        unheard += sum(done)
    assert found == told
    assert one_sided(url) == []
    # What was done unheard moved what nobody was told.
    if unheard == 0:
        assert _moved_in_books(url) == moved
    return moved


def _moves(name: AccountName, request: Message, answer: Any) -> Moved:
    """What the other side of the books was credited by a customer, less what it was debited."""
    match request:
        case GrantRequest():
            return Counter({(name.key, Code.PROMOTIONS): -request.amount})
        case CheckAndDeductRequest():
            return Counter({(name.key, Code.REVENUE): answer.deducted})
        case CaptureRequest():
            return Counter({(name.key, Code.REVENUE): answer.captured})
        case RefundRequest():
            return Counter({(name.key, Code.REVENUE): -answer.refunded})
        case RevokeRequest():
            return Counter({(name.key, Code.PROMOTIONS): answer.revoked})
        case AdjustRequest():
            is_up = request.direction == AdjustRequest.DIRECTION_UP
            return Counter({(name.key, Code.ADJUSTMENTS): -request.amount if is_up else request.amount})
        case WriteOffRequest():
            return Counter({(name.key, Code.ADJUSTMENTS): -answer.written_off})
        case TransferRequest():
            amount, other = request.amount, request.to_account_id
        case MergeAccountsRequest():
            amount, other = answer.moved - answer.debt_moved, request.into_account_id
        case _:
            return Counter()
    to = AccountName(tenant=name.tenant, account_id=other, asset=name.asset)
    return Counter({(name.key, Code.TRANSFERS): amount, (to.key, Code.TRANSFERS): -amount})


def _moved_in_books(url: str) -> Moved:
    found: Moved = Counter()
    amount = func.sum(lines.c.amount)
    sums = select(lines.c.account_key, lines.c.debit, lines.c.credit, amount).group_by(
        lines.c.account_key, lines.c.debit, lines.c.credit
    )
    for key, debit, credit, total in stored(url, sums):
        for code, moved in ((debit, -total), (credit, total)):
            if code in MOVED:
                found[key, Code(code)] += int(moved)
    return found
