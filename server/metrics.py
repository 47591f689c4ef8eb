"""What a server counts about itself, told in Prometheus' text format."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ledger import EventState

BOUNDS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_BATCH_BOUNDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)


class Durations(Collector):
    """How long things took, by two labels.

    Counted in one thread, in plain numbers: a call may cost a hundred microseconds, and the library's own histogram,
    which has a lock for each number, would be more than one of them.
    """

    def __init__(self, name: str, meaning: str, labels: tuple[str, str]) -> None:
        self._name, self._meaning, self._labels = name, meaning, labels
        # For each pair of labels how many took as long as each bound at most, but longer than the bound before; then
        # how many took longer than all; then the sum of the seconds.
        self._counts: dict[tuple[str, str], list[float]] = {}

    def note(self, first: str, second: str, seconds: float) -> None:
        """Counts one of them."""
        counts = self._counts.get((first, second))
        if counts is None:
            counts = self._counts[first, second] = [0] * (len(BOUNDS_S) + 2)
        counts[bisect_left(BOUNDS_S, seconds)] += 1
        counts[-1] += seconds

    def collect(self) -> Iterable[Metric]:
        """As the registry asks for them."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        bounds = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"]
        for labels, (*counts, seconds) in self._counts.items():
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), seconds)
        return [family]


class Metrics:
    """All of a server's figures, in a registry of its own.

    worker   its number among those that share a port, as a label of each figure; 0 if it is alone, and no label
    """

    def __init__(self, *, worker: int = 0) -> None:
        self._worker = worker
        self._registry = CollectorRegistry()
        self._calls = Durations("scrip_rpc_seconds", "How long calls took.", ("method", "code"))
        self._requests = Durations("scrip_http_seconds", "How long requests of HTTP took.", ("route", "status"))
        for durations in (self._calls, self._requests):
            self._registry.register(durations)
        self._batch_operations = Histogram(
            "scrip_batch_operations", "Operations of a batch.", buckets=_BATCH_BOUNDS, registry=self._registry
        )
        self._batch_seconds = Histogram(
            "scrip_batch_seconds", "How long batches took.", buckets=BOUNDS_S, registry=self._registry
        )
        self._collisions = Counter(
            "scrip_batch_collisions", "Batches decided again, because others were faster.", registry=self._registry
        )
        self._queue = Gauge("scrip_queue_operations", "Operations that wait to be decided.", registry=self._registry)
        self._events = Counter(
            "scrip_stripe_events", "Events of Stripe by what became of them.", ("state",), registry=self._registry
        )
        for state in EventState:
            # From zero on, so that the first one is an increase.
            self._events.labels(state)
        self._stripe_calls = Histogram(
            "scrip_stripe_call_seconds",
            "How long Stripe took.",
            ("call", "outcome"),
            buckets=BOUNDS_S,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)

    def note_call(self, method: str, code: str, seconds: float) -> None:
        """A call of gRPC has ended; in the event loop's thread."""
        self._calls.note(method, code, seconds)

    def note_request(self, route: str, status: int, seconds: float) -> None:
        """A request of HTTP has ended; in the event loop's thread."""
        self._requests.note(route, str(status), seconds)

    def note_stripe_call(self, call: str, outcome: str, seconds: float) -> None:
        """Stripe has answered, or has not; in any thread.

        outcome   such as ok, refused, unavailable
        """
        self._stripe_calls.labels(call, outcome).observe(seconds)

    def note_event(self, state: str) -> None:
        """This has become of an event of Stripe, by an EventState; in any thread."""
        self._events.labels(state).inc()

    def batch_done(self, operations: int, seconds: float) -> None:
        """See WriterObserver."""
        self._batch_operations.observe(operations)
        self._batch_seconds.observe(seconds)

    def batch_collided(self) -> None:
        """See WriterObserver."""
        self._collisions.inc()

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Asks this for the length of the queue whenever the figures are asked for."""
        self._queue.set_function(length)

    def told(self) -> bytes:
        """All figures, as text."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """The figures of the registry, each with the number of the worker; but not when it was first counted."""
        label = {"worker": str(self._worker)} if self._worker else {}
        for metric in self._registry.collect():
            metric.samples = [
                sample._replace(labels={**label, **sample.labels})
                for sample in metric.samples
                if not sample.name.endswith("_created")
            ]
            yield metric
