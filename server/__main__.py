"""The `scrip` command: serve, migrate, config; the commands of the books are in `commands`."""

from dataclasses import fields
from typing import Any, Final

import click

from server import commands
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

_SOURCES: Final = {
    click.core.ParameterSource.COMMANDLINE: "flag {flag}",
    click.core.ParameterSource.ENVIRONMENT: "variable {variable}",
    click.core.ParameterSource.DEFAULT_MAP: "file {file}",
    click.core.ParameterSource.DEFAULT: "default",
}
_SERVE_SETTINGS: Final = (
    "listen", "database", "workers", "batch_max", "linger_ms", "queue_max", "readers", "connection_age_s", "sweep_s",
    "drain_s", "http_listen", "public_url", "link_secret", "stripe_api_key", "stripe_webhook_secret", "stripe_api_base",
    "returned_credits", "recharge_s", "stripe_payload_days", "log_level", "log_format",
)  # fmt: skip


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
    from server.service import run  # noqa: PLC0415 -- to ask a server takes no books

    settings = Settings(**flags)
    log_as(settings)
    run(settings)


@main.command()
@setting_options("database", "log_level", "log_format")
def migrate(database: str, log_level: str, log_format: str) -> None:
    """Bring the database to the schema of this Scrip. `serve` does the same when it starts."""
    from ledger import (  # noqa: PLC0415 -- to ask a server takes no books
        DatabaseMisusedError,
        DatabaseUnavailableError,
        migrate_database,
    )

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
    from ledger import DatabaseMisusedError, parse_url, shown_url  # noqa: PLC0415 -- to ask a server takes no books

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
