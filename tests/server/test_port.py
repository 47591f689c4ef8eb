"""A reserved port is one's own: those it is reserved for share it, and everybody else is refused."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from server.port import PortTakenError, reserved
from tests.postgres import free_port

RIVALS = 8


@pytest.fixture(params=["127.0.0.1:0", "127.0.0.1:{}", "0.0.0.0:{}", "localhost:0", "localhost:{}"])
def address(request):
    """An address with a port of its own, or with one that is found."""
    return request.param.format(free_port())


def listen(address, *, shares):
    """Listens as gRPC does."""
    host, _, port = address.rpartition(":")
    family, _, _, _, place = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
        made.bind(place)
        made.listen()
    except OSError:
        made.close()
        raise
    return made


def test_those_it_is_reserved_for_share_it_and_get_its_connections(address):
    with ExitStack() as stack:
        own = stack.enter_context(reserved(address))
        listeners = [stack.enter_context(listen(own, shares=True)) for _ in range(2)]

        # Which of the two a connection comes to is a matter of luck, and fifty times luck is none.
        for _ in range(50):
            stack.enter_context(socket.create_connection(listeners[0].getsockname()[:2], 30))

        for listener in listeners:
            listener.settimeout(30)
            listener.accept()[0].close()


@pytest.mark.parametrize("is_used", [False, True])
def test_everybody_else_is_refused_whether_it_is_used_already_or_not(address, is_used):
    with ExitStack() as stack:
        own = stack.enter_context(reserved(address))
        if is_used:
            stack.enter_context(listen(own, shares=True))

        with pytest.raises(PortTakenError, match=r"cannot be listened on.*--listen"), reserved(own):
            pass
        with pytest.raises(OSError, match="in use"):
            listen(own, shares=False)


def test_nobody_is_connected_while_nobody_listens(address):
    with reserved(address) as own:
        host, _, port = own.rpartition(":")

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host.strip("[]"), int(port)), 30)


def test_a_port_on_which_somebody_listens_cannot_be_reserved():
    address = f"127.0.0.1:{free_port()}"
    with listen(address, shares=False), pytest.raises(PortTakenError, match=address), reserved(address):
        pass


def test_of_many_who_reserve_at_once_one_has_it():
    go, done = threading.Barrier(RIVALS), threading.Barrier(RIVALS)

    def reserve(address):
        go.wait()
        try:
            with reserved(address):
                done.wait()
                return True
        except PortTakenError:
            done.wait()
            return False

    for _ in range(20):
        address = f"127.0.0.1:{free_port()}"
        with ThreadPoolExecutor(RIVALS) as pool:
            assert sorted(pool.map(reserve, [address] * RIVALS)) == [False] * (RIVALS - 1) + [True]


def test_a_port_whose_last_connections_are_fading_can_be_reserved_again(address):
    with (
        reserved(address) as own,
        listen(own, shares=True) as listener,
        socket.create_connection(listener.getsockname()[:2], 30),
    ):
        # Who closes first keeps the port for a while.
        listener.accept()[0].close()

    with reserved(own) as again, listen(again, shares=True):
        assert again == own


@pytest.mark.parametrize("address", ["203.0.113.1:0", "203.0.113.1:50051", "nowhere.invalid:0"])
def test_what_is_no_address_of_this_machine_is_refused(address):
    with pytest.raises(PortTakenError, match=f"{address} cannot be listened on"), reserved(address):
        pass
