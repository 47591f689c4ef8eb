"""The port that several workers of one supervisor share, and nobody else."""

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

# An address that a name has, and that this machine has not, is no reason to refuse the others.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class PortTakenError(Exception):
    """The address cannot be listened on."""

    def __init__(self, listen: str) -> None:
        super().__init__(
            f"{listen} cannot be listened on: it is taken or not an address of this machine. "
            "Choose another with --listen."
        )


@contextmanager
def reserved(listen: str) -> Iterator[str]:
    """Keeps an address for the processes that this one starts; the value is the address with its real port.

    Each of them listens with SO_REUSEPORT. Whoever else comes later is refused, also if he wants to reserve: sockets
    that share a port must all have the option, and a reservation has it only once it is made.

    raises   PortTakenError
    """
    host, _, port = listen.rpartition(":")
    number = int(port)
    made: list[socket.socket] = []
    with ExitStack() as stack:
        try:
            for family, _, _, _, address in socket.getaddrinfo(host.strip("[]"), number, type=socket.SOCK_STREAM):
                try:
                    reservation = _reserve(family, (address[0], number, *address[2:]))
                except OSError as error:
                    if error.errno not in _NOT_HERE:
                        raise
                else:
                    made.append(stack.enter_context(reservation))
                    number = reservation.getsockname()[1]
        except OSError as error:
            raise PortTakenError(listen) from error
        if not made:
            raise PortTakenError(listen)
        yield f"{host}:{number}"


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
