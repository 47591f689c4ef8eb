"""How a command gets somebody to ask, and says what it was answered."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, Final

import click
import grpc
from scrip import Client, ScripError

from server.commands.options import memo, options, reasoned_memo, repeatable
from server.commands.rows import CHANGE_FITS, change_row
from server.config import MESSAGE_BYTES_MAX, setting_options
from server.output import Format, format_option, rendered

# What may be asked for again as it is; the client has made up a request_id if the command has none.
_AGAIN: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a client, and the options that all commands of the books have."""

    # Not named as the setting is, which is the server's: who has told a server its database still wants to ask it.
    @click.option("--database", "own_database", help="Open this database instead of asking a server.")
    @format_option
    @setting_options("server", "deadline_s")
    @wraps(command)
    def run(server: str, deadline_s: float, own_database: str | None, **options: Any) -> None:
        with (
            errors_told(server),
            _target(server, own_database) as target,
            Client(target, deadline_s=deadline_s) as client,
        ):
            command(client, **options)

    return run


@contextmanager
def errors_told(server: str) -> Iterator[None]:
    """Makes of an error of the client what the command says in the end."""
    try:
        yield
    except ScripError as error:
        told = error.message
        if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED and not error.reason_name:
            told = f"A server takes at most {MESSAGE_BYTES_MAX:,} bytes at once, and this is more. Divide it. ({told})"
        elif not error.reason_name:
            told = f"{told.removesuffix('.')}. Is a server running at {server}? Start one with: scrip serve"
        elif error.code in _AGAIN and error.request_id:
            told = f"{told} That was: --request-id {error.request_id}"
        raise click.ClickException(told) from error


def changes(*, reasoned: bool = False) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Makes a command of a function that changes something: it has a client and all options, and returns the answer.

    reasoned   it has to say why and who
    """

    def decorate(change: Callable[..., Any]) -> Callable[..., None]:
        @options(reasoned_memo if reasoned else memo, repeatable)
        @asks
        @wraps(change)
        def run(client: Client, form: Format, **given: Any) -> None:
            click.echo(rendered([change_row(change(client, **given))], form, CHANGE_FITS))

        return run

    return decorate


def _target(server: str, database: str | None) -> AbstractContextManager[str]:
    """The address to ask: that of a server, or of one that lives as long as the block."""
    if database is None:
        return nullcontext(server)
    from server.commands.own_server import own_server  # noqa: PLC0415 -- to ask a server takes no books

    return own_server(database)
