"""Addresses to listen on: for one server alone, or for the workers of one supervisor and nobody else."""

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final

# An address that a name has, and that this machine has not, is no reason to refuse the others.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_BACKLOG: Final = 128
HTTP_FLAG: Final = "--http-listen"


class PortTakenError(Exception):
    """The address cannot be listened on.

    flag   by which it was chosen
    """

    def __init__(self, listen: str, flag: str = "--listen") -> None:
        super().__init__(
            f"{listen} cannot be listened on: it is taken or not an address of this machine. "
            f"Choose another with {flag}."
        )


@contextmanager
def reserved(listen: str, flag: str = "--listen") -> Iterator[str]:
    """Keeps an address for the processes that this one starts; the value is the address with its real port.

    Each of them listens with SO_REUSEPORT. Whoever else comes later is refused, also if he wants to reserve: sockets
    that share a port must all have the option, and a reservation has it only once it is made.

    raises   PortTakenError
    """
    with ExitStack() as stack:
        made = _made(listen, flag, _reserve)
        for reservation in made:
            stack.enter_context(reservation)
        yield with_port(listen, port_of(made))


def listening(listen: str, flag: str, *, shares: bool) -> list[socket.socket]:
    """Sockets that listen on an address, one for each that its name has, all on the same port.

    shares   with others that do, in the same reserved address
    raises   PortTakenError
    """
    return _made(listen, flag, partial(_listen, shares=shares))


def with_port(listen: str, port: int) -> str:
    """An address with another port."""
    return f"{listen.rpartition(':')[0]}:{port}"


def port_of(sockets: list[socket.socket]) -> int:
    """The port that all of them have."""
    port: int = sockets[0].getsockname()[1]
    return port


def _made(listen: str, flag: str, make: Callable[[int, tuple[Any, ...]], socket.socket]) -> list[socket.socket]:
    """One socket for each address of a name, on the same port."""
    host, _, port = listen.rpartition(":")
    number = int(port)
    made: list[socket.socket] = []
    with ExitStack() as stack:
        try:
            for family, _, _, _, address in socket.getaddrinfo(host.strip("[]"), number, type=socket.SOCK_STREAM):
                try:
                    one = make(family, (address[0], number, *address[2:]))
                except OSError as error:
                    if error.errno not in _NOT_HERE:
                        raise
                else:
                    made.append(stack.enter_context(one))
                    number = port_of(made)
        except OSError as error:
            raise PortTakenError(listen, flag) from error
        if not made:
            raise PortTakenError(listen, flag)
        stack.pop_all()
    return made


def _reserve(family: int, address: tuple[Any, ...]) -> socket.socket:
    with ExitStack() as stack:
        made = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        if address[1] == 0:
            made.bind(address)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        else:
            # For a port on which connections of an earlier server are still fading. It lets two reserve at once,
            # but only one of them listen; so whoever may listen has it.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            # From here on bound and no longer listening, so that all connections go to the workers.
            made.shutdown(socket.SHUT_RDWR)
        stack.pop_all()
        return made


def _listen(family: int, address: tuple[Any, ...], *, shares: bool) -> socket.socket:
    with ExitStack() as stack:
        made = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        # Either lets a server have the port on which connections of an earlier one are still fading.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shares else socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
        stack.pop_all()
        return made
