"""What the provider has told: stored as it came, and what became of it."""

from datetime import datetime

from sqlalchemy import Connection

from ledger.billing.event_records import (
    add_event,
    drop_payloads,
    mark_event,
    owners_of,
    read_alarms,
    read_event,
    read_pending_events,
    take_alarm,
)
from ledger.billing.settling import Desk
from ledger.outcome import Reason, Refused
from ledger.sales.model import EventState, StripeEvent
from ledger.writer import StaleError


class Events(Desk):
    """Events. One that is stored is RECEIVED until it is applied, ignored or set aside."""

    def store_event(self, event: StripeEvent) -> bool:
        """Stores an event as RECEIVED; False if it was stored before.

        Then nothing is changed, unless it is set aside again after it was forgotten what it said: that is kept again.
        """
        with self._database.read() as connection:
            known = read_event(connection, event.event_id)
        if known is not None and (known.payload or known.state is not EventState.SET_ASIDE):
            return False
        is_new = [False]

        def write(connection: Connection) -> None:
            is_new[0] = add_event(connection, event)

        self._settling.write(write)
        return is_new[0]

    def pending_events(self, limit: int = 100) -> tuple[StripeEvent, ...]:
        """Those that are RECEIVED, oldest first."""
        with self._database.read() as connection:
            return tuple(read_pending_events(connection, limit))

    def event(self, event_id: str) -> StripeEvent | Refused:
        """One event.

        refuses   EVENT_NOT_FOUND
        """
        with self._database.read() as connection:
            event = read_event(connection, event_id)
        return event or Refused(reason=Reason.EVENT_NOT_FOUND, figures={"event_id": event_id})

    def ignore_event(self, event_id: str) -> StripeEvent | Refused:
        """Marks an event as IGNORED: it changes nothing here.

        refuses   EVENT_NOT_FOUND
        """
        self._settling.write(lambda connection: mark_event(connection, event_id, EventState.IGNORED))
        return self.event(event_id)

    def set_event_aside(self, event_id: str, why: str) -> StripeEvent | Refused:
        """Marks an event as SET_ASIDE, until somebody replays it.

        refuses   EVENT_NOT_FOUND
        """
        event = self.event(event_id)
        if isinstance(event, Refused):
            return event
        self._set_aside(event_id, why, ())
        return self.event(event_id)

    def alarms_due(self, limit: int = 100) -> tuple[StripeEvent, ...]:
        """What still belongs to nothing known; each is answered once, of however many servers, to be told of."""
        with self._database.read() as connection:
            due = read_alarms(connection, self._settling.clock(), limit)
        taken: list[StripeEvent] = []

        def write(connection: Connection) -> None:
            # Called again, it begins again.
            taken[:] = [event for event in due if take_alarm(connection, event)]

        if due:
            self._settling.write(write)
        return tuple(taken)

    def drop_payloads(self, before: datetime, limit: int = 1000) -> int:
        """Forgets what events said that are done and were received before an instant; answers of how many.

        That they came, and what became of them, is kept for ever, so that no event is ever taken for a new one.
        """
        dropped = [0]

        def write(connection: Connection) -> None:
            dropped[0] = drop_payloads(connection, before, limit)

        self._settling.write(write)
        return dropped[0]

    def _set_aside(self, event_id: str, why: str, refs: tuple[str, ...], alarm_at: datetime | None = None) -> None:
        if not event_id:
            return

        def write(connection: Connection) -> None:
            if owners_of(connection, refs):
                raise StaleError("what it waits for is known by now")
            mark_event(connection, event_id, EventState.SET_ASIDE, why=why, waits=refs, alarm_at=alarm_at)

        self._settling.write(write)
