"""The requests of a load, serialized by joining bytes that were made beforehand."""

import random
from typing import Final

from server.load import USAGE, Load, LoadFailedError, account_id

DEDUCT: Final = "/scrip.v1.CreditService/CheckAndDeduct"
HOLD: Final = "/scrip.v1.CreditService/Hold"
CAPTURE: Final = "/scrip.v1.CreditService/Capture"

_REQUEST_ID, _ACCOUNT_ID, _HOLD_ID, _ASSET, _AMOUNT, _USAGE = b"\x0a", b"\x12", b"\x12", b"\x1a", b"\x20", b"\x4a"
# Of a HoldResponse as gRPC sends it, entry_id is the first field and hold_id the second, as in a CaptureRequest.
_ENTRY_ID_AT: Final = 5


class Requests:
    """Requests of the amount 1, or of usage, each with a request_id of its own.

    path    the method of `new`
    holds   whether that holds, so that what is answered is to be captured
    """

    def __init__(self, load: Load) -> None:
        self.holds = load.operation == "hold"
        self.path = HOLD if self.holds else DEDUCT
        self._number = 0
        run = f"{load.run:06x}-"
        self._request_id = _REQUEST_ID + bytes([len(run) + 9]) + run.encode() + b"%09x"
        asset = _field(_ASSET, load.asset.encode()) if load.asset else b""
        cause = _AMOUNT + b"\x01"
        if load.operation == "usage":
            cause = _field(_USAGE, USAGE.SerializeToString(deterministic=True))
        self._accounts = [
            _field(_ACCOUNT_ID, account_id(number, load.account_prefix).encode()) + asset + cause
            for number in range(1 if load.hot else load.accounts)
        ]
        self._draw = random.Random(load.run).random  # noqa: S311 -- nothing here is secret

    def new(self) -> bytes:
        """A CheckAndDeductRequest or HoldRequest on an account at random."""
        return self._next_id() + self._accounts[int(self._draw() * len(self._accounts))]

    def capture(self, held: bytes) -> bytes:
        """A CaptureRequest of all that a hold has; `held` is the message that it was answered with.

        raises   LoadFailedError if there is no hold in it
        """
        begin = _ENTRY_ID_AT + 2 + held[_ENTRY_ID_AT + 1]
        if held[_ENTRY_ID_AT : _ENTRY_ID_AT + 1] != _REQUEST_ID or held[begin : begin + 1] != _HOLD_ID:
            raise LoadFailedError(f"a hold was answered with {held!r}")
        return self._next_id() + held[begin : begin + 2 + held[begin + 1]]

    def _next_id(self) -> bytes:
        self._number += 1
        return self._request_id % self._number


def _field(tag: bytes, value: bytes) -> bytes:
    """Of at most 127 bytes."""
    return tag + bytes([len(value)]) + value
