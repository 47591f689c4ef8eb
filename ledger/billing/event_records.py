"""The rows of Stripe's events, of the provider's names for what is known, and of the names that events wait for."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, literal_column, select, union, update

from ledger.billing.records import Place, is_name, paged
from ledger.sales.model import EventState, StripeEvent
from ledger.sales.waiting import INSTANT, instant_ref
from ledger.tables import event_refs, refs, stripe_events


def owners_of(connection: Connection, names: Iterable[str]) -> dict[str, str]:
    """To what each of the provider's names belongs, as far as that is known."""
    rows = connection.execute(select(refs).where(refs.c.ref.in_(sorted(names))))
    return {row.ref: row.owner for row in rows}


def keep_refs(connection: Connection, names: Iterable[str], owner: str) -> None:
    """Notes what names belong to; what is known already stays. Events that waited for them are received again."""
    names = sorted(set(names))
    known = owners_of(connection, names)
    new = [name for name in names if name not in known]
    if new:
        connection.execute(insert(refs), [{"ref": name, "owner": owner} for name in new])
    wake_events(connection, names)


def wake_events(connection: Connection, names: Sequence[str]) -> None:
    """Has the events that wait for one of these names received again."""
    waiting = select(event_refs.c.event_id).where(event_refs.c.ref.in_(sorted(names)))
    if woken := [row.event_id for row in connection.execute(waiting)]:
        _receive_again(connection, woken)


def known_meanwhile(connection: Connection, now: datetime) -> list[str]:
    """Events of whose names one has become known at the moment in which they were set aside; or waited long enough."""
    waiting = select(event_refs.c.event_id).join(refs, refs.c.ref == event_refs.c.ref)
    has_come = event_refs.c.ref.startswith(INSTANT, autoescape=True) & (event_refs.c.ref <= instant_ref(now))
    late = select(event_refs.c.event_id).where(has_come)
    return [row.event_id for row in connection.execute(union(waiting, late))]


def wake_known(connection: Connection, now: datetime) -> None:
    """Has these events received again."""
    if woken := known_meanwhile(connection, now):
        _receive_again(connection, woken)


def _receive_again(connection: Connection, event_ids: Sequence[str]) -> None:
    aside = update(stripe_events).where(stripe_events.c.event_id.in_(event_ids))
    aside = aside.where(stripe_events.c.state == EventState.SET_ASIDE.value)
    connection.execute(aside.values(state=EventState.RECEIVED.value, why="", alarm_at=None))
    connection.execute(delete(event_refs).where(event_refs.c.event_id.in_(event_ids)))


def _event_of(row: Row[Any]) -> StripeEvent:
    return StripeEvent(
        event_id=row.event_id,
        type=row.type,
        payload=row.payload,
        livemode=bool(row.livemode),
        state=EventState(row.state),
        why=row.why,
        created_at=row.created_at,
        received_at=row.received_at,
        alarm_at=row.alarm_at,
        order_id=row.order_id,
    )


def read_event(connection: Connection, event_id: str) -> StripeEvent | None:
    """One event."""
    if not is_name(event_id):
        return None
    row = connection.execute(select(stripe_events).where(stripe_events.c.event_id == event_id)).first()
    return None if row is None else _event_of(row)


def read_pending_events(connection: Connection, limit: int) -> list[StripeEvent]:
    """Those that are received, oldest first."""
    wanted = select(stripe_events).where(stripe_events.c.state == EventState.RECEIVED.value)
    oldest = (stripe_events.c.created_at, stripe_events.c.event_id)
    return [_event_of(row) for row in connection.execute(wanted.order_by(*oldest).limit(limit))]


def read_events(
    connection: Connection, state: EventState | None, before: Place | None, limit: int
) -> list[StripeEvent]:
    """The newest events; see read_orders."""
    wanted = select(stripe_events)
    if state is not None:
        wanted = wanted.where(stripe_events.c.state == state.value)
    return [_event_of(row) for row in paged(connection, wanted, stripe_events, before, limit)]


def read_alarms(connection: Connection, now: datetime, limit: int) -> list[StripeEvent]:
    """Those of which somebody is to be told by now, oldest first."""
    wanted = select(stripe_events).where(stripe_events.c.alarm_at <= now).order_by(stripe_events.c.alarm_at)
    return [_event_of(row) for row in connection.execute(wanted.limit(limit))]


def take_alarm(connection: Connection, event: StripeEvent) -> bool:
    """Whoever takes it tells of it; False if somebody else has, or it is not as it was."""
    its = update(stripe_events).where(
        stripe_events.c.event_id == event.event_id, stripe_events.c.alarm_at == event.alarm_at
    )
    return connection.execute(its.values(alarm_at=None)).rowcount == 1


def add_event(connection: Connection, event: StripeEvent) -> bool:
    """Stores an event; False if it is there already. If it is set aside without what it said, that is kept again."""
    if read_event(connection, event.event_id) is not None:
        aside = (stripe_events.c.state == EventState.SET_ASIDE.value, stripe_events.c.payload == "")
        its = update(stripe_events).where(stripe_events.c.event_id == event.event_id, *aside)
        connection.execute(its.values(payload=event.payload))
        return False
    row = {name: getattr(event, name) for name in stripe_events.c.keys()}  # noqa: SIM118 -- columns, not a mapping
    connection.execute(insert(stripe_events).values({**row, "state": event.state.value, "livemode": event.livemode}))
    return True


def drop_payloads(connection: Connection, before: datetime, limit: int) -> int:
    """Forgets what events said that are applied or ignored and were received before an instant; how many that were.

    The rest of them stays, so that an event that is sent again is known.
    """
    over = [EventState.APPLIED.value, EventState.IGNORED.value]
    # As the index has it.
    is_kept: ColumnElement[bool] = literal_column("payload <> ''")
    old = select(stripe_events.c.event_id).where(
        is_kept, stripe_events.c.received_at < before, stripe_events.c.state.in_(over)
    )
    names = [row.event_id for row in connection.execute(old.limit(limit))]
    if names:
        connection.execute(update(stripe_events).where(stripe_events.c.event_id.in_(names)).values(payload=""))
    return len(names)


def mark_event(
    connection: Connection,
    event_id: str,
    state: EventState,
    *,
    order_id: str = "",
    why: str = "",
    waits: Sequence[str] = (),
    alarm_at: datetime | None = None,
) -> None:
    """Notes what became of an event, for which names it waits, and when somebody is to be told if it still does."""
    its = update(stripe_events).where(stripe_events.c.event_id == event_id)
    connection.execute(its.values(state=state.value, why=why, order_id=order_id, alarm_at=alarm_at))
    connection.execute(delete(event_refs).where(event_refs.c.event_id == event_id))
    if waits:
        connection.execute(insert(event_refs), [{"ref": name, "event_id": event_id} for name in sorted(set(waits))])
