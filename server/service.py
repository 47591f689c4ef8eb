"""What `scrip serve` does: one server in this process, or a supervisor of workers."""

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

import click
import structlog
import uvloop

from ledger import DatabaseMisusedError, parse_url, shown_url
from server.app import Server
from server.config import PAGE_NEEDS, WEBHOOK_NEEDS, Settings
from server.port import PortTakenError, with_port
from server.serving import Ending, on_signals, serve_until_told
from server.supervisor import WorkerRefusedError, check_workers, supervise

log = structlog.get_logger()


def run(settings: Settings) -> None:
    """Serves until told to stop. Raises ClickException if it cannot."""
    try:
        check_workers(settings)
        if settings.workers == 1:
            uvloop.run(_serve(settings))
        else:
            # The supervisor takes no calls, and its child processes are what asyncio knows best.
            asyncio.run(_serve_with_workers(settings))
    except (PortTakenError, DatabaseMisusedError, WorkerRefusedError) as error:
        raise click.ClickException(str(error)) from error


async def _serve(settings: Settings) -> None:
    ending = Ending()
    on_signals(ending.tell)
    server = Server(settings)

    def began() -> None:
        http = with_port(settings.http_listen, server.http_port) if settings.http_listen else ""
        _began(settings, with_port(settings.listen, server.port), http)

    await serve_until_told(server, ending, drain_s=settings.drain_s, began=began)


async def _serve_with_workers(settings: Settings) -> None:
    ending = Ending()
    on_signals(ending.tell)
    await supervise(settings, ending, partial(_began, settings))


def _began(settings: Settings, listen: str, http_listen: str) -> None:
    database = shown_url(parse_url(settings.database))
    serves = {"listen": listen}
    if http_listen:
        serves["http_listen"] = http_listen
        for what, needed in (("webhook", WEBHOOK_NEEDS), ("purchase_page", PAGE_NEEDS)):
            lacking = settings.lacking(needed)
            serves[what] = f"not without {', '.join(lacking)}" if lacking else "served"
    log.info("serving", **serves, database=database, workers=settings.workers, pid=os.getpid())
    click.echo(_welcome(listen))


def _welcome(address: str) -> str:
    """What to try first, to be pasted as it is."""
    buf = Path(sys.executable).with_name("buf")
    if not buf.exists():
        shown = "buf"
    else:
        shown = str(buf.relative_to(Path.cwd())) if buf.is_relative_to(Path.cwd()) else str(buf)
    return (
        "Try it, in another terminal:\n\n"
        f"  {shown} curl --protocol grpc --http2-prior-knowledge \\\n"
        """    -d '{"requestId": "r-1", "accountId": "acme"}' \\\n"""
        f"    http://{address}/scrip.v1.CreditService/OpenAccount\n"
    )
