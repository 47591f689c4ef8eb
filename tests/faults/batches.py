"""Batches made on purpose."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

from ledger import Delivery, Ledger, Operation, deliver
from tests.books import deducting
from tests.faults.customers import NOBODY, PATIENCE_S


class Batches:
    """Sees each batch when it is answered; can hold the writer, so that what is submitted meanwhile is one batch.

    Give `deliver` to a ledger as `deliver_all`.
    """

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._is_held = threading.Event()
        self._may_go_on = threading.Event()
        self._may_go_on.set()

    def deliver(self, outcomes: Delivery) -> None:
        self.sizes.append(len(outcomes))
        self._is_held.set()
        assert self._may_go_on.wait(PATIENCE_S)
        deliver(outcomes)

    @contextmanager
    def hold(self, ledger: Ledger) -> Iterator[None]:
        """Keeps the writer from taking anything during the block, by not letting it finish with a refusal."""
        self._is_held.clear()
        self._may_go_on.clear()
        try:
            ledger.queue(deducting(1, NOBODY))
            assert self._is_held.wait(PATIENCE_S)
            self.sizes.clear()
            yield
        finally:
            self._may_go_on.set()

    def submit_as_one(self, ledger: Ledger, operations: Sequence[Operation]) -> list[Future]:
        """Submits the operations so that they share a batch."""
        with self.hold(ledger):
            return [ledger.queue(operation) for operation in operations]
