"""A server that a command starts for itself, on a database that it was told."""

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import structlog

from ledger import DatabaseMisusedError, DatabaseUnavailableError, parse_url, require_migrated
from server.app import Server
from server.config import Settings


@contextmanager
def own_server(database: str) -> Iterator[str]:
    """The address of a server that lives as long as the block. Raises ClickException if the database does not do."""
    try:
        _require_there(database)
        # Says what is wrong with a database; a server would wait for it to get well.
        require_migrated(database)
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
        with _running_loop() as loop:
            own = asyncio.run_coroutine_threadsafe(_started(database), loop).result()
            try:
                yield f"127.0.0.1:{own.port}"
            finally:
                asyncio.run_coroutine_threadsafe(own.stop(), loop).result()
    except (DatabaseMisusedError, DatabaseUnavailableError) as error:
        raise click.ClickException(str(error)) from error


def _require_there(database: str) -> None:
    """A mistyped file must not become an empty one."""
    url = parse_url(database)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        raise DatabaseMisusedError(f"There is no file {url.database}. Correct --database, or make it: scrip migrate")


@contextmanager
def _running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scrip-server", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _started(database: str) -> Server:
    server = Server(Settings(listen="127.0.0.1:0", database=database, sweep_s=0, drain_s=0))
    await server.start()
    return server
