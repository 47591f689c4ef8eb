"""Threads that nobody waits for."""

import threading
from concurrent.futures import CancelledError

import pytest

from server.far_threads import FarThreads


def test_what_is_asked_of_them_is_answered_or_raised():
    threads = FarThreads(2, name="far")

    asked = [threads.submit(divmod, 7, by) for by in (2, 0)]

    assert asked[0].result() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        asked[1].result()
    threads.close()


def test_closed_they_cancel_what_has_not_begun_and_end_what_has_without_being_waited_for():
    threads, has_begun, may_end = FarThreads(1, name="far"), threading.Event(), threading.Event()
    first = threads.submit(lambda: (has_begun.set(), may_end.wait()))
    has_begun.wait()
    second = threads.submit(divmod, 7, 2)

    threads.close()

    with pytest.raises(CancelledError):
        second.result()
    with pytest.raises(RuntimeError, match="far is closed"):
        threads.submit(divmod, 7, 2)
    may_end.set()
    assert first.result() == (None, True)
