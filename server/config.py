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
# No setting yet, and known to those who ask as well: what a server takes at once.
MESSAGE_BYTES_MAX: Final = 1024 * 1024
LEVELS: Final = ("debug", "info", "warning", "error")
# As many as the hash that signs links has bytes.
LINK_SECRET_LENGTH_MIN: Final = 32
# Shorter ones are not Stripe's.
STRIPE_SECRET_LENGTH_MIN: Final = 16
STRIPE_TEST_KEYS: Final = ("sk_test_", "rk_test_")
STRIPE_KEYS: Final = (*STRIPE_TEST_KEYS, "sk_live_", "rk_live_")
# What has to be set for Stripe's webhook to be served, and for the purchase page.
WEBHOOK_NEEDS: Final = ("stripe_api_key", "http_listen", "stripe_webhook_secret")
PAGE_NEEDS: Final = ("stripe_api_key", "http_listen", "public_url", "link_secret")
_PUBLIC_URL: Final = r"(?:https://[^\s/?#@]+|http://(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?)(?:/[^\s?#]*)?"

Command = TypeVar("Command", bound=Callable[..., Any])


class Address(click.ParamType[str]):
    """A host and a port. gRPC would take less, and make of port 99999 the port 34463.

    optional   nothing is an address too
    """

    name = "host:port"

    def __init__(self, *, optional: bool = False) -> None:
        self._optional = optional

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, if it is an address."""
        if self._optional and not value:
            return value
        found = re.fullmatch(r"(?!unix:)(?:[^:/\[\]]+|\[[^/\[\]]+\]):(\d{1,5})", value)
        if found is None or int(found[1]) > PORT_MAX:
            self.fail(
                f"{value!r} is not an address such as 127.0.0.1:50051, with a port of 0 to {PORT_MAX}.", param, ctx
            )
        return value


class PublicUrl(click.ParamType[str]):
    """Where browsers reach the HTTP side, or nothing. Without TLS only on the machine itself."""

    name = "url"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text without the slash at its end, if it is such a URL."""
        if value and re.fullmatch(_PUBLIC_URL, value) is None:
            self.fail(
                f"{value!r} is not a URL such as https://pay.example.com, without a query; "
                "http is for localhost and 127.0.0.1 alone.",
                param,
                ctx,
            )
        return value.rstrip("/")


class Secret(click.ParamType[str]):
    """A text that is never shown, or nothing.

    length_min   characters; fewer could be guessed
    begins       how it may begin, so that one secret is not taken for another
    several      there may be more than one, with commas between
    """

    name = "secret"

    def __init__(self, *, length_min: int, begins: tuple[str, ...] = ("",), several: bool = False) -> None:
        self._length_min = length_min
        self._begins = begins
        self._several = several

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, if it is long enough and begins as it must. The complaint does not repeat it."""
        for secret in value.split(",") if self._several else [value]:
            if value and not secret.startswith(self._begins):
                self.fail(f"it must begin with {' or '.join(self._begins)}.", param, ctx)
            if value and len(secret) < self._length_min:
                self.fail(f"it must have at least {self._length_min} characters.", param, ctx)
        return value


class FloatRange(click.FloatRange):
    """A range without "nan", which is neither below nor above any limit."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 -- as click asks
        """The number a text means."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def _setting(default: Any, meaning: str, kind: Any = None, *, is_shown: bool = True) -> Any:  # noqa: ANN401 -- a field of any type
    metadata = {"meaning": meaning, "type": kind or click.STRING}
    return field(default=default, metadata=metadata, repr=is_shown and not isinstance(kind, Secret))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a Scrip process can be told."""

    listen: str = _setting("127.0.0.1:50051", "Address to serve gRPC on; port 0 takes any free one.", Address())
    database: str = _setting(
        "sqlite:///data/scrip.db",
        "sqlite:///path/to/file.db or postgresql://user:password@host/database.",
        is_shown=False,
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
    http_listen: str = _setting(
        "",
        "Address to serve HTTP on: webhook, purchase page, health, metrics; empty: none.",
        Address(optional=True),
    )
    public_url: str = _setting("", "Where browsers reach the HTTP side; purchase links begin so.", PublicUrl())
    link_secret: str = _setting(
        "",
        "Signs links to the purchase page; the same for all servers. Give it in the file or the environment.",
        Secret(length_min=LINK_SECRET_LENGTH_MIN),
    )
    stripe_api_key: str = _setting(
        "",
        "Stripe's secret or restricted key; empty: no payments are taken. Give it in the file or the environment.",
        Secret(length_min=STRIPE_SECRET_LENGTH_MIN, begins=STRIPE_KEYS),
    )
    stripe_webhook_secret: str = _setting(
        "",
        "Of the webhook endpoint; two with a comma between while one replaces the other.",
        Secret(length_min=STRIPE_SECRET_LENGTH_MIN, begins=("whsec_",), several=True),
    )
    stripe_api_base: str = _setting("", "Where Stripe's API is; empty: at Stripe. For tests.")
    returned_credits: str = _setting(
        "owe",
        "What becomes of credits that are spent when their money goes back.",
        click.Choice(("owe", "write_off")),
    )
    recharge_s: float = _setting(
        5.0, "How often it is looked for accounts that recharge themselves; 0: never.", FloatRange(0, 86_400)
    )
    stripe_payload_days: int = _setting(
        90,
        "How long it is kept what applied events of Stripe said; 0: for ever.",
        click.IntRange(0, 3_650),
    )
    log_level: str = _setting("info", "The least important event that is logged.", click.Choice(LEVELS))
    log_format: str = _setting("text", "How events are written.", click.Choice(("text", "json")))
    server: str = _setting("127.0.0.1:50051", "Server that the commands talk to.")
    deadline_s: float = _setting(10.0, "How long a command waits for an answer.", FloatRange(0.1, 3_600))

    def lacking(self, needed: Iterable[str]) -> tuple[str, ...]:
        """Those of the settings that are empty."""
        return tuple(name for name in needed if not getattr(self, name))


def option_name(name: str) -> str:
    """The flag of a setting."""
    return "--" + name.replace("_", "-")


def variable_name(name: str) -> str:
    """The environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()


def shown_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of settings by name as they may be shown: of a secret no more than that there is one."""
    secrets = {setting.name for setting in fields(Settings) if isinstance(setting.metadata["type"], Secret)}
    return {name: "***" if name in secrets and value else value for name, value in values.items()}


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
                # Of what the file says, too; so not of a secret.
                show_default=not isinstance(setting.metadata["type"], Secret),
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
