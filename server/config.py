"""All settings, each told once: its default, its range and what it means.

A flag wins over an environment variable, that over the TOML file, that over the default. click does the looking up;
this module only tells it where, and refuses what it does not know.
"""

import math
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar

import click

ENVIRONMENT_PREFIX: Final = "SCRIP_"
CONFIG_VARIABLE: Final = "SCRIP_CONFIG"
CONFIG_DEFAULT: Final = "scrip.toml"
# Belongs to the tests, which run with the same environment.
_NOT_SETTINGS: Final = ("SCRIP_TEST_",)

PORT_MAX: Final = 65_535
LEVELS: Final = ("debug", "info", "warning", "error")

Command = TypeVar("Command", bound=Callable[..., Any])


class Address(click.ParamType[str]):
    """A host and a port. gRPC would take less, and make of port 99999 the port 34463."""

    name = "host:port"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, if it is an address."""
        found = re.fullmatch(r"(?!unix:)(?:[^:/\[\]]+|\[[^/\[\]]+\]):(\d{1,5})", value)
        if found is None or int(found[1]) > PORT_MAX:
            self.fail(
                f"{value!r} is not an address such as 127.0.0.1:50051, with a port of 0 to {PORT_MAX}.", param, ctx
            )
        return value


class FloatRange(click.FloatRange):
    """A range without "nan", which is neither below nor above any limit."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 -- as click asks
        """The number a text means."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def _setting(default: Any, meaning: str, kind: Any = None) -> Any:  # noqa: ANN401 -- a field of any type
    return field(default=default, metadata={"meaning": meaning, "type": kind or click.STRING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a Scrip process can be told."""

    listen: str = _setting("127.0.0.1:50051", "Address to serve gRPC on; port 0 takes any free one.", Address())
    database: str = _setting(
        "sqlite:///data/scrip.db", "sqlite:///path/to/file.db or postgresql://user:password@host/database."
    )
    workers: int = _setting(
        1, "Processes that serve the address together; more than one needs PostgreSQL and Linux.", click.IntRange(1, 64)
    )
    batch_max: int = _setting(
        1_000, "Operations per transaction at most; one Batch is never cut.", click.IntRange(1, 10_000)
    )
    linger_ms: float = _setting(2.0, "How long to wait for more operations under load, at most.", FloatRange(0, 1_000))
    queue_max: int = _setting(
        10_000, "Operations that may wait; more are refused at once.", click.IntRange(1, 1_000_000)
    )
    readers: int = _setting(4, "Reads that may run at once.", click.IntRange(1, 64))
    connection_age_s: float = _setting(
        300.0, "Age at which a connection is closed and its client makes another; 0: never.", FloatRange(0, 86_400)
    )
    sweep_s: float = _setting(
        60.0, "How often lapses of idle accounts are written and checkpoints made; 0: never.", FloatRange(0, 86_400)
    )
    drain_s: float = _setting(
        10.0, "How long calls under way may take once told to stop; told again, it does not wait.", FloatRange(0, 600)
    )
    log_level: str = _setting("info", "The least important event that is logged.", click.Choice(LEVELS))
    log_format: str = _setting("text", "How events are written.", click.Choice(("text", "json")))
    server: str = _setting("127.0.0.1:50051", "Server that the commands talk to.")
    deadline_s: float = _setting(10.0, "How long a command waits for an answer.", FloatRange(0.1, 3_600))


def option_name(name: str) -> str:
    """The flag of a setting."""
    return "--" + name.replace("_", "-")


def variable_name(name: str) -> str:
    """The environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()


def setting_options(*names: str) -> Callable[[Command], Command]:
    """Gives a command the flags of these settings."""
    known: Mapping[str, Field[Any]] = {setting.name: setting for setting in fields(Settings)}

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            setting = known[name]
            add = click.option(
                option_name(name),
                name,
                type=setting.metadata["type"],
                default=setting.default,
                envvar=variable_name(name),
                show_default=True,
                help=setting.metadata["meaning"],
            )
            command = add(command)
        return command

    return decorate


def read_file(path: str | None, environment: Mapping[str, str] = os.environ) -> tuple[dict[str, Any], str]:
    """The settings in the TOML file, and the file's name; nothing and "" if there is none.

    path     as given on the command line; None takes SCRIP_CONFIG, then scrip.toml if it is there
    raises   click.UsageError for a file that cannot be read or has unknown settings, and for unknown variables
    """
    _refuse_unknown_variables(environment)
    wanted = path or environment.get(CONFIG_VARIABLE) or None
    file = Path(wanted or CONFIG_DEFAULT)
    if wanted is None and not file.exists():
        return {}, ""
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file} is not TOML: {error}.") from error
    _refuse_unknown(settings, {setting.name for setting in fields(Settings)}, f"{file} has")
    for name, value in settings.items():
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise click.UsageError(f"{file}: {name} must be a text or a number.")
    # As text, so that what a flag may not be, such as 12.5 for a whole number, a line of the file may not be either.
    return {name: str(value) for name, value in settings.items()}, str(file)


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    ours = {name for name in environment if name.startswith(ENVIRONMENT_PREFIX) and not name.startswith(_NOT_SETTINGS)}
    known = {variable_name(setting.name) for setting in fields(Settings)} | {CONFIG_VARIABLE}
    _refuse_unknown(ours, known, "The environment has")


def _refuse_unknown(names: Iterable[str], known: Iterable[str], where: str) -> None:
    if unknown := sorted(set(names) - set(known)):
        raise click.UsageError(
            f"{where} {', '.join(unknown)}, which is no setting of Scrip. Known are: {', '.join(sorted(known))}."
        )
