"""Workers that cannot start."""

import asyncio
import sys

import pytest

from server import supervisor
from server.config import Settings
from server.serving import Ending
from server.supervisor import WorkerRefusedError, supervise


def test_workers_that_no_process_can_be_made_for_end_the_whole(monkeypatch, postgres_url):
    monkeypatch.setattr(supervisor, "_COMMAND", ("/nowhere",))
    settings = Settings(listen="127.0.0.1:0", database=postgres_url, workers=2)

    with pytest.raises(WorkerRefusedError, match=r"^No process can be started: No such file"):
        asyncio.run(_supervise(settings))


def test_workers_that_break_before_they_serve_end_the_whole(monkeypatch, postgres_url):
    monkeypatch.setattr(supervisor, "_COMMAND", (sys.executable, "-c", "import sys; sys.exit(3)"))
    settings = Settings(listen="127.0.0.1:0", database=postgres_url, workers=2)

    with pytest.raises(WorkerRefusedError, match=r"^Worker \d ended before it served, with exit code 3"):
        asyncio.run(_supervise(settings))


async def _supervise(settings):
    await supervise(settings, Ending(), pytest.fail)
