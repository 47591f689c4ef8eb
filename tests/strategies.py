"""Requests made up by Hypothesis, so that they meet: few amounts, and instants on a grid of five minutes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import strategies as st

from ledger import (
    AccountName,
    Capture,
    Deduct,
    Grant,
    Memo,
    Money,
    OpenAccount,
    Operation,
    PlaceHold,
    Release,
    Source,
)
from tests.books import MICROSECOND, START
from tests.model import GRANTED_FROM, Model

STEP = timedelta(minutes=5)
UNKNOWN_HOLD = 9_999


def instants(now: datetime) -> st.SearchStrategy[datetime]:
    """Around now, on the grid."""
    return st.integers(-3, 12).map(lambda steps: now + steps * STEP)


def spans() -> st.SearchStrategy[timedelta]:
    """Up to an hour, on the grid."""
    return st.integers(1, 12).map(lambda steps: steps * STEP)


@st.composite
def grants(draw, account: AccountName, request_id: str, now: datetime) -> Grant:
    """A grant with all kinds of terms."""
    source = draw(st.sampled_from(Source))
    is_free = GRANTED_FROM[source][0] == "promotions"
    effective_at = draw(st.none() | instants(now))
    expires_at, ttl = draw(st.just((None, None)) | st.tuples(instants(now), st.none()) | st.tuples(st.none(), spans()))
    if effective_at is not None and expires_at is not None and expires_at <= effective_at:
        expires_at = effective_at + STEP
    return Grant(
        request_id=request_id,
        account=account,
        amount=draw(st.integers(1, 20)),
        source=source,
        priority=draw(st.none() | st.integers(0, 2)),
        effective_at=effective_at,
        expires_at=expires_at,
        ttl=ttl,
        cost=None if is_free or draw(st.booleans()) else Money(minor_units=draw(st.integers(0, 3)), currency="EUR"),
    )


def _amounts(model: Model, now: datetime) -> st.SearchStrategy[int]:
    """What can be spent, most of the time; sometimes more."""
    spendable = len(model.settled(now).spendable) if model.is_open else 0
    return st.integers(1, min(spendable, 9)) | st.integers(1, spendable + 1) if spendable else st.integers(1, 3)


@st.composite
def deductions(draw, account: AccountName, request_id: str, model: Model, now: datetime) -> Deduct:
    return Deduct(request_id=request_id, account=account, amount=draw(_amounts(model, now)))


@st.composite
def holds(draw, account: AccountName, request_id: str, model: Model, now: datetime) -> PlaceHold:
    amount, ttl = draw(_amounts(model, now)), draw(st.none() | spans())
    return PlaceHold(request_id=request_id, account=account, amount=amount, ttl=ttl)


def _hold_numbers(model: Model) -> st.SearchStrategy[int]:
    """An open hold most of the time; otherwise perhaps an ended one, or one that nobody made."""
    is_open = [number for number, hold in model.holds.items() if hold.state == "open"]
    every = [*model.holds, UNKNOWN_HOLD]
    return (
        st.sampled_from(is_open) | st.sampled_from(is_open) | st.sampled_from(every)
        if is_open
        else st.sampled_from(every)
    )


@st.composite
def plain_grants(draw, account: AccountName, request_id: str) -> Grant:
    """A grant that can be spent at once and never runs out."""
    return Grant(request_id=request_id, account=account, amount=draw(st.integers(5, 20)), source=Source.PROMO)


@st.composite
def captures(draw, account: AccountName, request_id: str, model: Model) -> Capture:
    """A capture of nothing, of something, of all in both ways of saying so, or of more."""
    number = draw(_hold_numbers(model))
    held = len(model.holds[number].credits) if number in model.holds else 1
    return Capture(
        request_id=request_id,
        tenant=account.tenant,
        key=account.key,
        hold=number,
        amount=draw(st.none() | st.integers(0, held) | st.just(held + 1)),
    )


@st.composite
def releases(draw, account: AccountName, request_id: str, model: Model) -> Release:
    return Release(request_id=request_id, tenant=account.tenant, key=account.key, hold=draw(_hold_numbers(model)))


@st.composite
def repeats(draw, asked: Sequence[Operation], model: Model) -> Operation:
    """What was asked before, answered or refused: the same again, something else about it, or another operation."""
    earlier = draw(st.sampled_from(asked))
    if draw(st.booleans()):
        return earlier
    if draw(st.booleans()):
        return _another_operation(earlier)
    if isinstance(earlier, OpenAccount):
        return replace(earlier, memo=Memo(reference="another"))
    if isinstance(earlier, Release):
        return replace(earlier, hold=draw(_hold_numbers(model)))
    if isinstance(earlier, Capture):
        return replace(earlier, amount=draw(st.none() | st.integers(0, 3)), hold=draw(_hold_numbers(model)))
    return replace(earlier, amount=earlier.amount + 1)


def _another_operation(earlier: Operation) -> Operation:
    """Alike in every word but the operation itself, as far as that can be."""
    if isinstance(earlier, Capture | Release):
        other = Release if isinstance(earlier, Capture) else Capture
        return other(request_id=earlier.request_id, tenant=earlier.tenant, key=earlier.key, hold=earlier.hold)
    other = PlaceHold if isinstance(earlier, Deduct) else Deduct
    return other(request_id=earlier.request_id, account=earlier.account, amount=getattr(earlier, "amount", 1))


def moments_that_matter(model: Model, now: datetime) -> st.SearchStrategy[datetime]:
    """On or just before one of the next instants at which something begins or runs out; if there is none, soon."""
    matters = [hold.expires_at for hold in model.holds.values() if hold.state == "open"]
    matters += [instant for pack in model.packs.values() for instant in (pack.effective_at, pack.expires_at) if instant]
    coming = st.sampled_from(sorted({instant for instant in matters if instant > now})[:3] or [now + STEP])
    return coming | coming | coming.map(lambda instant: instant - MICROSECOND)


def moments(model: Model, now: datetime) -> st.SearchStrategy[datetime]:
    """When the clock may stand next: at an instant that matters, anywhere later, or earlier."""
    later = spans().map(lambda span: now + span)
    earlier = spans().map(lambda span: now - span)
    return moments_that_matter(model, now) | later | earlier


@st.composite
def changes(
    draw, account: AccountName, request_id: str, *, model: Model, now: datetime, asked: Sequence[Operation]
) -> Operation:
    """Any request to an account."""
    kinds = [
        grants(account, request_id, now),
        plain_grants(account, request_id),
        deductions(account, request_id, model, now),
        holds(account, request_id, model, now),
    ]
    kinds += [captures(account, request_id, model), releases(account, request_id, model)]
    if any(hold.state == "open" for hold in model.holds.values()):
        kinds += [captures(account, request_id, model), releases(account, request_id, model)]
    if asked:
        kinds += [repeats(asked, model)]
    if not model.is_open and draw(st.integers(0, 3)) < 3:
        kinds = [st.just(OpenAccount(request_id=request_id, account=account))]
    elif model.is_open and not model.packs:
        kinds = [plain_grants(account, request_id)]
    return draw(st.one_of(kinds))


@st.composite
def batches(draw, accounts: Sequence[AccountName]) -> list[tuple[datetime, list[Operation]]]:
    """Requests to several accounts, cut into batches; all of a batch meet the same clock."""
    models = {account: Model() for account in accounts}
    asked: dict[AccountName, list[Operation]] = {account: [] for account in accounts}
    now, cut = START, [(START, [])]
    for number in range(draw(st.integers(20, 40))):
        account = draw(st.sampled_from(accounts))
        model = models[account]
        if draw(st.integers(0, 4)) == 0:
            now = draw(moments(model, now))
            cut.append((now, []))
        elif draw(st.integers(0, 3)) == 0:
            cut.append((now, []))
        operation = draw(changes(account, f"r-{number}", model=model, now=now, asked=asked[account]))
        asked[account].append(operation)
        cut[-1][1].append(operation)
        model.ask(operation, now)
    return [(instant, operations) for instant, operations in cut if operations]
