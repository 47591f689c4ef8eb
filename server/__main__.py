"""The `scrip` command: serve, migrate, config; the commands of the books are in `commands`."""

import asyncio
import os
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import structlog
import uvloop

from ledger import DatabaseMisusedError, DatabaseUnavailableError, migrate_database, parse_url, shown_url
from server import commands
from server.app import Server
from server.config import (
    CONFIG_DEFAULT,
    CONFIG_VARIABLE,
    Settings,
    option_name,
    read_file,
    setting_options,
    shown_secrets,
    variable_name,
)
from server.log import log_as
from server.output import Format, format_option, rendered
from server.port import PortTakenError, with_port
from server.serving import Ending, on_signals, serve_until_told
from server.supervisor import WorkerRefusedError, check_workers, supervise

_SOURCES: Final = {
    click.core.ParameterSource.COMMANDLINE: "flag {flag}",
    click.core.ParameterSource.ENVIRONMENT: "variable {variable}",
    click.core.ParameterSource.DEFAULT_MAP: "file {file}",
    click.core.ParameterSource.DEFAULT: "default",
}
_SERVE_SETTINGS: Final = (
    "listen", "database", "workers", "batch_max", "linger_ms", "queue_max", "readers", "connection_age_s", "sweep_s",
    "drain_s", "http_listen", "public_url", "link_secret", "stripe_api_key", "stripe_webhook_secret", "stripe_api_base",
    "returned_credits", "recharge_s", "log_level", "log_format",
)  # fmt: skip

log = structlog.get_logger()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", "config_path", help=f"TOML file with settings; else {CONFIG_VARIABLE}, else {CONFIG_DEFAULT} if there."
)
@click.version_option(package_name="scrip-server", prog_name="scrip")
@click.pass_context
def main(context: click.Context, config_path: str | None) -> None:
    """Scrip, a credit service.

    Each setting can be a flag, an environment variable (SCRIP_LISTEN for --listen) or a line of the TOML file, and is
    looked up in that order.
    """
    settings, file = read_file(config_path)
    context.obj = file
    context.default_map = _defaults(main, settings)


def _defaults(group: click.Group, settings: dict[str, Any]) -> dict[str, Any]:
    """What the file says, for every command of a group and of the groups in it."""
    return {
        name: {**settings, **_defaults(command, settings)} if isinstance(command, click.Group) else settings
        for name, command in group.commands.items()
    }


@main.command()
@setting_options(*_SERVE_SETTINGS)
def serve(**flags: Any) -> None:
    """Serve gRPC until told to stop (SIGTERM or Ctrl-C), then answer what is under way and end.

    Told a second time, it does not wait for what takes long, such as an audit. What was acknowledged stays.
    """
    settings = Settings(**flags)
    log_as(settings)
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
    addresses = {"listen": listen, "http_listen": http_listen} if http_listen else {"listen": listen}
    log.info("serving", **addresses, database=database, workers=settings.workers, pid=os.getpid())
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


@main.command()
@setting_options("database", "log_level", "log_format")
def migrate(database: str, log_level: str, log_format: str) -> None:
    """Bring the database to the schema of this Scrip. `serve` does the same when it starts."""
    log_as(Settings(log_level=log_level, log_format=log_format))
    try:
        before, after = migrate_database(database)
    except (DatabaseMisusedError, DatabaseUnavailableError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Schema {after}: nothing to do." if before == after else f"Schema {before or 'none'} -> {after}.")


@main.command()
@setting_options(*(setting.name for setting in fields(Settings)))
@format_option
@click.pass_context
def config(context: click.Context, /, form: Format, **flags: Any) -> None:
    """Show every setting, its value, and where that came from."""
    rows = []
    try:
        flags["database"] = shown_url(parse_url(flags["database"]))
    except DatabaseMisusedError as error:
        raise click.ClickException(str(error)) from error
    for name, value in sorted(shown_secrets(flags).items()):
        source = context.get_parameter_source(name) or click.core.ParameterSource.DEFAULT
        told = _SOURCES[source].format(flag=option_name(name), variable=variable_name(name), file=context.obj)
        rows.append({"setting": name, "value": value, "from": told})
    click.echo(rendered(rows, form))


for command in commands.COMMANDS:
    main.add_command(command)


if __name__ == "__main__":
    main()
