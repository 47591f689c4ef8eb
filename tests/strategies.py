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
from tests.books import MICROSECOND
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
        amount=draw(st.integers(1, 12)),
        source=source,
        priority=draw(st.none() | st.integers(0, 2)),
        effective_at=effective_at,
        expires_at=expires_at,
        ttl=ttl,
        cost=None if is_free or draw(st.booleans()) else Money(minor_units=draw(st.integers(0, 3)), currency="EUR"),
    )


def deductions(account: AccountName, request_id: str) -> st.SearchStrategy[Deduct]:
    return st.integers(1, 15).map(lambda amount: Deduct(request_id=request_id, account=account, amount=amount))


@st.composite
def holds(draw, account: AccountName, request_id: str) -> PlaceHold:
    return PlaceHold(
        request_id=request_id, account=account, amount=draw(st.integers(1, 10)), ttl=draw(st.none() | spans())
    )


def _hold_numbers(model: Model) -> st.SearchStrategy[int]:
    """An open hold most of the time; otherwise an ended one, or one that nobody made."""
    is_open = [number for number, hold in model.holds.items() if hold.state == "open"]
    every = [*model.holds, UNKNOWN_HOLD]
    return st.sampled_from(is_open) | st.sampled_from(is_open) | st.sampled_from(every) if is_open else st.sampled_from(every)


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
        amount=draw(st.none() | st.integers(0, held) | st.integers(0, held + 1)),
    )


@st.composite
def releases(draw, account: AccountName, request_id: str, model: Model) -> Release:
    return Release(
        request_id=request_id, tenant=account.tenant, key=account.key, hold=draw(_hold_numbers(model))
    )


@st.composite
def repeats(draw, asked: Sequence[Operation], model: Model) -> Operation:
    """What was asked before, answered or refused: the same again, something else about it, or another operation."""
    earlier = draw(st.sampled_from(asked))
    if draw(st.booleans()):
        return earlier
    if isinstance(earlier, OpenAccount):
        return replace(earlier, memo=Memo(reference="another"))
    if isinstance(earlier, Release):
        return replace(earlier, hold=draw(_hold_numbers(model)))
    if isinstance(earlier, Capture):
        return replace(earlier, amount=draw(st.none() | st.integers(0, 3)), hold=draw(_hold_numbers(model)))
    if draw(st.booleans()):
        return Deduct(request_id=earlier.request_id, account=earlier.account, amount=draw(st.integers(1, 3)))
    return replace(earlier, amount=earlier.amount + 1)


@st.composite
def moments(draw, model: Model, now: datetime) -> datetime:
    """When the clock may stand next: on, just before or just after an instant that matters; anywhere; or earlier."""
    matters = [hold.expires_at for hold in model.holds.values() if hold.state == "open"]
    matters += [instant for pack in model.packs for instant in (pack.effective_at, pack.expires_at) if instant]
    coming = sorted({instant for instant in matters if instant > now})[:3]
    choices = spans().map(lambda span: now + span) | instants(now)
    if coming:
        exactly = st.sampled_from(coming)
        choices |= exactly | exactly.map(lambda instant: instant - MICROSECOND) | exactly
    return draw(choices)
