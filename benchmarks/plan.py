"""How much is measured, and what a part of it finds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.rounds import Measured, Middle
from benchmarks.targets import Databases

TRACE: Final = Path(__file__).resolve().parent.parent.parent / "shared/data/AzureLLMInferenceTrace_code.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured.

    rounds       how often
    in_flight    numbers of calls that are under way at the same time
    accounts     how many accounts calls are spread over
    longest      entries of the account whose history is turned over; its last page is the 1,000th
    sizes        of the books that are compared, in entries
    operations   after which the memory and the disk are looked at
    trace        of requests to a model
    quick        only the four ratios at the front
    """

    rounds: int = 7
    in_flight: tuple[int, ...] = (1, 64, 1024)
    accounts: int = 100_000
    warmup_s: float = 1.0
    measured_s: float = 4.0
    longest: int = 50_000
    sizes: tuple[int, ...] = (0, 1_000_000, 10_000_000)
    operations: int = 1_000_000
    trace: Path = TRACE
    quick: bool = False

    @property
    def how_long(self) -> dict[str, float]:
        """Of one load."""
        return {"warmup_s": self.warmup_s, "measured_s": self.measured_s}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a part of the benchmark has found.

    measured   a table each
    figures    those with names of their own; None is what could not be measured
    notes      what the tables do not say
    """

    title: str
    measured: Sequence[Measured]
    figures: Mapping[str, Middle | None]
    notes: Sequence[str] = ()


Part = Callable[[Databases, Plan], Found]
