"""One operation of each kind, for tests that ask the same of all."""

from dataclasses import replace
from datetime import timedelta

from ledger import (
    Adjust,
    Capture,
    Close,
    Direction,
    ExtendHold,
    Freeze,
    HoldLot,
    IncreaseHold,
    Memo,
    Merge,
    Refund,
    Release,
    Revoke,
    RollOver,
    SpendLimit,
    SpentPart,
    Transfer,
    Unfreeze,
    UpdateAccount,
    Window,
    WriteOff,
)
from tests.books import ACME, deducting, granting, holding, opening

INT64_MAX = 2**63 - 1
CAPTURE = Capture(request_id="r", tenant=ACME.tenant, key=ACME.key, hold=3)
RELEASE = Release(request_id="r", tenant=ACME.tenant, key=ACME.key, hold=3)
OF_A_HOLD = {"request_id": "r", "tenant": ACME.tenant, "key": ACME.key, "hold": 3}
OF_A_PART = {"request_id": "r", "tenant": ACME.tenant, "key": ACME.key}
OF_ACME = {"request_id": "r", "account": ACME}
BOLT = replace(ACME, account_id="bolt")
WHY = Memo(description="why", actor="who")
OPENING = opening()
OF_AN_AMOUNT = (
    granting(1),
    deducting(1),
    holding(1),
    Transfer(**OF_ACME, to=BOLT, amount=1),
    Adjust(**OF_ACME, direction=Direction.UP, amount=1, memo=WHY),
    WriteOff(**OF_ACME, amount=1, memo=WHY),
)
OF_AN_ACCOUNT = (
    OPENING,
    *OF_AN_AMOUNT,
    Merge(**OF_ACME, into=BOLT),
    Freeze(**OF_ACME, memo=WHY),
    Unfreeze(**OF_ACME),
    Close(**OF_ACME),
    UpdateAccount(**OF_ACME),
)
OF_PARTS = (
    CAPTURE,
    RELEASE,
    IncreaseHold(**OF_A_HOLD, amount=1),
    ExtendHold(**OF_A_HOLD, ttl=timedelta(hours=1)),
    Refund(**OF_A_PART, entry=3),
    Revoke(**OF_A_PART, lot=3, spent=SpentPart.OWE),
    HoldLot(**OF_A_PART, lot=3, ttl=timedelta(days=90)),
    RollOver(**OF_A_PART, lot=3, amount=1),
)
EVERY = (*OF_AN_ACCOUNT, *OF_PARTS)
WITH_AMOUNT = [*OF_AN_AMOUNT, *(operation for operation in OF_PARTS[2:] if not isinstance(operation, ExtendHold))]
LIMIT = SpendLimit(name="daily", window=Window.DAY, amount=10)
