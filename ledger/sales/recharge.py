"""How accounts recharge themselves. A malformed one cannot be made."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from ledger.fields import (
    Violation,
    bad_given,
    bad_identifier,
    bad_instant,
    bad_money,
    bad_name,
    bad_number,
    bad_text,
    check,
)
from ledger.model import DEFAULT_ASSET, INT64_MAX, Money

CONSENT_LENGTH_MAX: Final = 1000
ACTOR_LENGTH_MAX: Final = 255
# How long to wait after each decline in a row; after one more, it is disabled.
BACK_OFF: Final = (timedelta(hours=1), timedelta(hours=6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """How a customer agreed to be charged without being asked each time.

    text    the words, or where they stand
    actor   who agreed
    """

    text: str
    actor: str
    at: datetime

    def __post_init__(self) -> None:
        check(*bad_consent(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoRecharge:
    """How an account recharges itself.

    threshold   it does when less than this is available, smallest units
    package     what is bought
    target      bought as often as it takes to have at least this available; 0: once
    cap         what may be spent on it in a calendar month (UTC); what is sold in another currency is not bought
    consent     required to enable it
    retry_at    when it tries again: after a decline, or because it may not buy now; None: it may at once
    declines    how often in a row it was declined
    order_id    the order that is under way; empty: none
    filling     True: it goes on until the target is reached
    """

    tenant: str
    account_id: str
    asset: str = DEFAULT_ASSET
    enabled: bool = False
    threshold: int = 0
    package: str = ""
    target: int = 0
    cap: Money | None = None
    consent: Consent | None = None
    retry_at: datetime | None = None
    declines: int = 0
    order_id: str = ""
    filling: bool = False
    version: int = 0

    def __post_init__(self) -> None:
        check(*bad_auto_recharge(self))

    @property
    def below(self) -> int:
        """It begins when less than this is available, smallest units."""
        return self.target if self.filling else self.threshold


def bad_consent(consent: Consent) -> tuple[Violation | None, ...]:
    """What is wrong with a consent."""
    return (
        None if consent.text else Violation(field="consent.text", must="must not be empty."),
        bad_text("consent.text", consent.text, CONSENT_LENGTH_MAX),
        None if consent.actor else Violation(field="consent.actor", must="must say who; it is empty."),
        bad_text("consent.actor", consent.actor, ACTOR_LENGTH_MAX),
        bad_instant("consent.at", consent.at),
    )


def bad_auto_recharge(recharge: AutoRecharge) -> tuple[Violation | None, ...]:
    """What is wrong with how an account is to recharge itself; what is not enabled need not be complete."""
    enabled = recharge.enabled
    return (
        bad_name("tenant", recharge.tenant),
        bad_identifier("account_id", recharge.account_id),
        bad_name("asset", recharge.asset),
        bad_number("threshold", recharge.threshold, 1 if enabled else 0, INT64_MAX),
        bad_name("package", recharge.package) if enabled or recharge.package else None,
        bad_number("target", recharge.target, 0, INT64_MAX),
        None
        if recharge.target == 0 or recharge.target >= recharge.threshold
        else Violation(field="target", must="must not be below threshold."),
        *(
            (bad_given("cap", None) if enabled else None,)
            if recharge.cap is None
            else bad_money("cap", recharge.cap, 1)
        ),
        bad_given("consent", recharge.consent) if enabled else None,
    )


def month_of(at: datetime) -> datetime:
    """When the calendar month (UTC) of an instant began: what a cap is for."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def month_after(at: datetime) -> datetime:
    """When the calendar month (UTC) after that of an instant begins: what was spent by then does not count any more."""
    return month_of(month_of(at) + timedelta(days=31))


def agreed_anew(recharge: AutoRecharge, known: AutoRecharge | None, now: datetime) -> AutoRecharge:
    """What is agreed now, with what stays of what was agreed before: its order under way and its declines.

    It waits no longer than after its last decline: what else kept it from buying may have been put right. Enabled again
    after it was not, it begins without declines.
    """
    known = known or AutoRecharge(tenant=recharge.tenant, account_id=recharge.account_id)
    declines = 0 if recharge.enabled and not known.enabled else known.declines
    retry_at = known.retry_at if declines else None
    if retry_at is not None:
        retry_at = min(retry_at, now + _back_off(declines))
    return replace(
        recharge,
        retry_at=retry_at,
        declines=declines,
        order_id=known.order_id,
        filling=False,
        version=known.version,
    )


def served(recharge: AutoRecharge, available: int) -> AutoRecharge:
    """After its order was granted; it goes on if the target is not reached.

    available   after it
    """
    return replace(recharge, order_id="", declines=0, retry_at=None, filling=available < recharge.target)


def given_up(recharge: AutoRecharge) -> AutoRecharge:
    """After its order was paid and cannot be granted: somebody must look at it before anything else is bought."""
    return replace(recharge, order_id="", enabled=False, filling=False)


def declined(recharge: AutoRecharge, now: datetime) -> AutoRecharge:
    """After its order was declined: it waits, longer each time, and in the end it is disabled."""
    declines = recharge.declines + 1
    is_last = declines > len(BACK_OFF)
    return replace(
        recharge,
        order_id="",
        declines=declines,
        enabled=recharge.enabled and not is_last,
        retry_at=None if is_last else now + _back_off(declines),
        filling=False,
    )


def _back_off(declines: int) -> timedelta:
    return BACK_OFF[min(declines, len(BACK_OFF)) - 1]
