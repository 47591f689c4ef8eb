"""When to try again what found the server unavailable. Neither blocks nor awaits."""

import time

import grpc

from scrip.errors import ScripError

# As long as gRPC pauses between the attempts that it makes itself.
PAUSES_S = (0.1, 0.3, 0.9, 2.0)
_WORTH_ANOTHER = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


class Attempts:
    """The attempts at one call, or at going on with one stream.

    deadline_s   seconds from now for all of them together
    pauses_s     seconds before the second attempt, the third, and so on; none: there is only one
    """

    __slots__ = ("_all_pauses_s", "_pauses_s", "ends_at")

    def __init__(self, deadline_s: float, pauses_s: tuple[float, ...]) -> None:
        self.ends_at = time.monotonic() + deadline_s
        self._all_pauses_s = self._pauses_s = pauses_s

    @property
    def seconds_left(self) -> float:
        return max(self.ends_at - time.monotonic(), 0.0)

    def succeeded(self) -> None:
        """Give what comes next as many attempts as there were in the beginning."""
        self._pauses_s = self._all_pauses_s

    def pause_s(self, failure: ScripError) -> float | None:
        """How long to pause before another attempt; None if that is of no use."""
        if is_worth_another(failure) and self._pauses_s and self._pauses_s[0] < self.seconds_left:
            first, *rest = self._pauses_s
            self._pauses_s = tuple(rest)
            return first
        return None


def is_worth_another(failure: ScripError) -> bool:
    """Tell whether the failure may be over soon."""
    return failure.code in _WORTH_ANOTHER
