"""Events of Stripe: stored as they come, and applied one by one until each is applied, ignored or set aside."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import structlog

from ledger import (
    Billing,
    DatabaseUnavailableError,
    EventState,
    NotDoneError,
    Refused,
    StoppingError,
    StripeEvent,
)
from server.errors import RefusedError, sentence_of
from server.stripe_events import Unreadable, read, take
from server.stripe_signature import check_signature

EVENTS_AT_ONCE: Final = 100
TRIES_MAX: Final = 8
PAUSE_MIN: Final = timedelta(seconds=1)
PAUSE_MAX: Final = timedelta(minutes=1)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """An event that could not be applied: how often it was tried, and when it is tried again."""

    tries: int
    until: datetime


class Inbox:
    """The events that Stripe sent. Safe to use from many threads; several servers may share the database.

    secrets    of the webhook
    livemode   True: the key is for real money
    noted      told what became of each event
    """

    def __init__(
        self,
        billing: Billing,
        *,
        secrets: Sequence[str],
        livemode: bool,
        clock: Callable[[], datetime],
        noted: Callable[[str], None],
    ) -> None:
        self._billing = billing
        self._secrets = secrets
        self._livemode = livemode
        self._clock = clock
        self._noted = noted
        self._waiting: dict[str, _Waiting] = {}

    def take(self, payload: bytes, signature: str) -> None:
        """Stores an event, unless it was stored before; it is durable on return.

        payload     the body as it came
        signature   the header Stripe-Signature
        raises      SignatureError, MalformedError, and what Ledger.execute raises
        """
        now = self._clock()
        check_signature(payload, signature, self._secrets, now)
        self.store(take(payload, now))

    def store(self, event: StripeEvent) -> None:
        """Stores an event of which it is known that it comes from Stripe."""
        if self._billing.store_event(event):
            self._noted(EventState.RECEIVED)
            log.info("stripe_event_stored", event_id=event.event_id, type=event.type)

    def apply(self, event: StripeEvent) -> StripeEvent:
        """Does what an event says, unless it is done; answers it as it stands then."""
        if event.livemode != self._livemode:
            modes = ("test", "live")
            why = f"It is of {modes[event.livemode]} mode; the server's key is for {modes[self._livemode]} mode."
            return self._ended(event, self._billing.set_event_aside(event.event_id, why))
        reading = read(json.loads(event.payload))
        if reading is None:
            return self._ended(event, self._billing.ignore_event(event.event_id))
        if isinstance(reading, Unreadable):
            return self._ended(event, self._billing.set_event_aside(event.event_id, reading.why))
        applied = self._billing.apply_event(reading)
        if isinstance(applied, Refused):
            # It waits for nothing but somebody who looks at it.
            return self._ended(event, self._billing.set_event_aside(event.event_id, sentence_of(applied)))
        if applied.alarm_at is not None:
            log.info("stripe_event_waits", event_id=event.event_id, type=event.type, why=applied.why)
            return applied
        return self._ended(event, applied)

    def apply_pending(self) -> int:
        """Applies what was stored, oldest first; answers how many events it looked at.

        One that cannot be applied is tried again later, after ever longer pauses, and set aside in the end; it does not
        keep others waiting.
        raises   DatabaseUnavailableError, StoppingError
        """
        now = self._clock()
        pending = self._billing.pending_events(EVENTS_AT_ONCE + len(self._waiting))
        self._waiting = {
            event.event_id: self._waiting[event.event_id] for event in pending if event.event_id in self._waiting
        }
        due = [event for event in pending if not self._waits(event, now)]
        for event in due:
            self.try_to_apply(event)
        for event in self._billing.alarms_due():
            self._ended(event, event)
        return len(due)

    def try_to_apply(self, event: StripeEvent) -> None:
        """Applies an event; if that does not succeed, it waits for longer than the last time, or is set aside.

        raises   DatabaseUnavailableError, StoppingError
        """
        try:
            self.apply(event)
        except (DatabaseUnavailableError, StoppingError):
            # Not this event's fault, but it might be: the others come first the next time.
            self._put_off(event)
            raise
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with one, the others must be applied
            self._failed(event, error)

    def _waits(self, event: StripeEvent, now: datetime) -> bool:
        waiting = self._waiting.get(event.event_id)
        return waiting is not None and now < waiting.until

    def _put_off(self, event: StripeEvent) -> int:
        """Has an event wait longer than the last time; answers how often it was tried."""
        before = self._waiting.get(event.event_id)
        tries = 1 if before is None else before.tries + 1
        pause = min(PAUSE_MIN * 2 ** (tries - 1), PAUSE_MAX)
        self._waiting[event.event_id] = _Waiting(tries=tries, until=self._clock() + pause)
        return tries

    def _failed(self, event: StripeEvent, error: Exception) -> None:
        tries, incident_id = self._put_off(event), uuid4().hex
        told = {"event_id": event.event_id, "type": event.type, "tries": tries}
        if isinstance(error, NotDoneError):
            log.warning("stripe_event_not_applied", **told, error=repr(error))
        else:
            log.error("stripe_event_broke", **told, incident_id=incident_id, exc_info=error)
        if tries < TRIES_MAX:
            return
        why = f"It could not be applied in {tries} tries; the log has more under {incident_id}."
        try:
            self._ended(event, self._billing.set_event_aside(event.event_id, why))
        except (DatabaseUnavailableError, NotDoneError, RefusedError) as unavailable:
            log.warning("stripe_event_not_set_aside", **told, error=repr(unavailable))

    def _ended(self, event: StripeEvent, outcome: StripeEvent | Refused) -> StripeEvent:
        """Notes what became of an event, and raises the alarm if somebody must look at it."""
        if isinstance(outcome, Refused):
            raise RefusedError(outcome)
        self._waiting.pop(event.event_id, None)
        self._noted(outcome.state)
        told = {"event_id": outcome.event_id, "type": outcome.type, "order_id": outcome.order_id}
        if outcome.state is EventState.SET_ASIDE:
            log.error("stripe_event_set_aside", **told, why=outcome.why)
        else:
            log.info("stripe_event_done", **told, state=str(outcome.state))
        return outcome
