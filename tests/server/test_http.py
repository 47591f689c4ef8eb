"""The HTTP side: what it answers, and what it does not put up with."""

import asyncio
import gzip
import re
import resource
import threading
import time
from itertools import chain, repeat

import pytest

from ledger import DatabaseUnavailableError, MalformedError, StoppingError, Violation
from server import http, http_body, http_port
from server.stripe_signature import SignatureError
from tests.server.http_asking import PATIENCE_S, ServedApp, answer_of, hung_up

MEBIBYTE = 1024 * 1024
WEBHOOK = b"POST /stripe/webhook HTTP/1.1\r\nHost: h\r\nStripe-Signature: t=1,v1=a\r\n"


class Mailbox:
    """Where events go; `answers` may raise, or wait."""

    def __init__(self, answers=None) -> None:
        self.taken = []
        self._answers = answers

    async def take_event(self, payload, signature):
        if self._answers is not None:
            await self._answers()
        self.taken.append((payload, signature))


def raising(error):
    async def answers():
        raise error

    return answers


@pytest.fixture
def mailbox():
    return Mailbox()


@pytest.fixture
def ask(mailbox, quiet):
    with ServedApp(events=mailbox) as ask:
        yield ask


@pytest.fixture
def impatient(monkeypatch):
    """Nobody waits long for a slow client."""
    monkeypatch.setattr(http_port, "PATIENCE_S", 0.2)
    monkeypatch.setattr(http_port, "KEEP_ALIVE_S", 0.2)
    monkeypatch.setattr(http_body, "BODY_S", 0.2)


# What every answer has.


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/nothing"])
def test_no_answer_tells_what_serves_it_or_lets_itself_be_taken_for_something_else(ask, path):
    answer = ask("GET", path)

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_head_is_answered_as_get_without_the_body(ask, path):
    with ask.connected() as connection:
        connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        answer = answer_of(connection, "HEAD")
        rest = connection.recv(1)

    assert (answer.status, rest) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/healthz", {"GET", "HEAD"}),
        ("DELETE", "/readyz", {"GET", "HEAD"}),
        ("PUT", "/metrics", {"GET", "HEAD"}),
        ("GET", "/stripe/webhook", {"POST"}),
        ("HEAD", "/stripe/webhook", {"POST"}),
        ("OPTIONS", "/stripe/webhook", {"POST"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(ask, method, path, allowed):
    answer = ask(method, path)

    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/healthz/",
        "/HEALTHZ",
        "//healthz",
        "/../healthz",
        "/healthz/../readyz",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/buy/../metrics",
        "/stripe/webhook%00",
        "/healthz%0d%0aX-Mine:%201",
        "http://h/healthz",
        "*",
    ],
)
def test_a_path_is_taken_by_the_letter(ask, target):
    answer = ask.raw(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())

    assert answer.status == 404
    assert "x-mine" not in answer.headers


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nHost: other\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: h\r\n Folded: x\r\nBad Name: x\r\n\r\n",
        WEBHOOK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        WEBHOOK + b"Content-Length: -1\r\n\r\n",
        WEBHOOK + b"Transfer-Encoding: gzip\r\n\r\nxx",
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 20_000,
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        WEBHOOK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxx\r\n0\r\n\r\n",
    ],
    ids=[
        "no HTTP", "TLS", "no host", "two hosts", "a bad name", "two lengths", "a length below zero",
        "an unknown encoding", "a head that is too large", "all of it", "an address that is too long",
        "a length and chunks",
    ],
)  # fmt: skip
def test_nonsense_is_refused_and_the_connection_closed(ask, mailbox, head):
    with ask.connected() as connection:
        connection.sendall(head)
        answer = answer_of(connection)
        rest = connection.recv(1)

    assert answer.status // 100 in {4, 5}
    assert (answer.headers["connection"], rest) == ("close", b"")
    assert mailbox.taken == []


def test_nonsense_after_an_answer_ends_the_connection(ask):
    with ask.connected() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert answer_of(connection).status == 200
        connection.sendall(b"nonsense\r\n\r\n")

        assert answer_of(connection).status == 400
        assert connection.recv(1) == b""


def test_requests_that_follow_each_other_on_a_connection_are_answered_in_order(ask):
    with ask.connected() as connection:
        connection.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\nGET /nothing HTTP/1.1\r\nHost: h\r\n\r\n"
            b"GET /readyz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        )
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk

    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"404", b"200"]


def test_there_are_only_so_many_connections_at_once(monkeypatch, mailbox):
    monkeypatch.setattr(http_port, "CONNECTIONS_MAX", 3)
    with ServedApp(events=mailbox) as ask, ask.connected(), ask.connected():
        assert ask("GET", "/healthz").status == 503
    with ServedApp(events=mailbox) as ask, ask.connected():
        assert ask("GET", "/healthz").status == 200


# Slow clients.


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost: h\r\n"], ids=["nothing", "half a head"])
def test_who_does_not_come_to_the_point_is_hung_up_on(impatient, ask, said):
    with ask.connected() as connection:
        connection.sendall(said)

        assert hung_up(connection)


def test_a_head_that_comes_drop_by_drop_is_not_waited_for(impatient, ask):
    def drip():
        yield b"GET /healthz HTTP/1.1\r\nHost: h\r\nX: "
        while True:
            time.sleep(0.01)
            yield b"x"

    with ask.connected() as connection:
        assert not takes_all(connection, drip())


def test_a_connection_that_is_not_used_any_more_is_closed(impatient, ask):
    with ask.connected() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert answer_of(connection).status == 200

        assert hung_up(connection)


def test_a_body_that_does_not_come_is_not_waited_for(impatient, ask, mailbox):
    with ask.connected() as connection:
        connection.sendall(WEBHOOK + b"Content-Length: 10\r\n\r\nxx")
        answer = answer_of(connection)

        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert hung_up(connection)
    assert mailbox.taken == []


def test_a_client_that_goes_away_in_the_middle_of_a_body_disturbs_nobody(ask, mailbox):
    with ask.connected() as connection:
        connection.sendall(WEBHOOK + b"Content-Length: 10\r\n\r\nxx")

    assert ask("GET", "/healthz").status == 200
    assert mailbox.taken == []


def test_who_asks_and_does_not_take_the_answers_is_hung_up_on(impatient, ask):
    with ask.connected() as connection:
        assert not takes_all(connection, repeat(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n" * 100))


def takes_all(connection, chunks):
    """True if all of them could be sent, and False if the other end hung up before."""
    try:
        for chunk in chunks:
            connection.sendall(chunk)
    except OSError:
        return False
    return True


# The webhook.


def test_an_event_is_handed_on_as_it_came(ask, mailbox):
    payload = gzip.compress(b"not even JSON") + b"\r\n\x00\xff"

    answer = ask("POST", "/stripe/webhook", payload, Stripe_Signature="t=1,v1=a", Content_Type="application/json")

    assert answer.status == 200
    assert mailbox.taken == [(payload, "t=1,v1=a")]


def test_an_event_may_come_in_chunks(ask, mailbox):
    answer = ask.raw(WEBHOOK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n")

    assert answer.status == 200
    assert mailbox.taken == [(b"abcde", "t=1,v1=a")]


def test_an_event_may_be_as_large_as_the_bound_and_no_larger(ask, mailbox):
    at_bound = ask("POST", "/stripe/webhook", b"x" * MEBIBYTE, Stripe_Signature="s")
    above = ask("POST", "/stripe/webhook", b"x" * (MEBIBYTE + 1), Stripe_Signature="s")

    assert (at_bound.status, above.status) == (200, 413)
    assert [len(payload) for payload, _ in mailbox.taken] == [MEBIBYTE]


def test_ten_megabytes_are_refused_and_not_kept(ask, mailbox):
    ask("POST", "/stripe/webhook", b"x" * MEBIBYTE, Stripe_Signature="s")
    body = b"x" * 10_000_000
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    answer = ask("POST", "/stripe/webhook", body, Stripe_Signature="s")

    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert answer.text == "The body may have 1048576 bytes at most."
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 4 * 1024
    assert len(mailbox.taken) == 1


def test_ten_megabytes_in_chunks_without_a_length_are_refused_too(ask, mailbox):
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    answer = ask.raw(WEBHOOK + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 160, b"0\r\n\r\n")

    assert answer.status == 413
    assert mailbox.taken == []


def test_a_body_without_an_end_is_not_read_for_ever(ask, mailbox):
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with ask.connected() as connection:
        assert not takes_all(connection, chain([WEBHOOK + b"Transfer-Encoding: chunked\r\n\r\n"], repeat(chunk)))

    assert ask("GET", "/healthz").status == 200
    assert mailbox.taken == []


def test_who_asks_before_sending_too_much_need_not_send_it(ask):
    answer = ask.raw(WEBHOOK + b"Content-Length: 10000000\r\nExpect: 100-continue\r\n\r\n")

    assert answer.status == 413


def test_who_asks_before_sending_what_is_wanted_is_told_to_go_on(ask, mailbox):
    with ask.connected() as connection:
        connection.sendall(WEBHOOK + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"{}")

        assert answer_of(connection).status == 200
    assert mailbox.taken == [(b"{}", "t=1,v1=a")]


def test_a_chunk_that_is_none_ends_the_connection_and_nothing_is_taken(ask, mailbox):
    with ask.connected() as connection:
        connection.sendall(WEBHOOK + b"Transfer-Encoding: chunked\r\n\r\nzzz\r\nabc\r\n")

        assert answer_of(connection).status == 400
        assert hung_up(connection)
    assert mailbox.taken == []


@pytest.mark.parametrize("signatures", [(), ("a", "a"), ("a", "b")])
def test_one_signature_is_needed(ask, mailbox, signatures):
    lines = "".join(f"Stripe-Signature: {signature}\r\n" for signature in signatures)

    answer = ask.raw(f"POST /stripe/webhook HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n{lines}\r\n{{}}".encode())

    assert (answer.status, answer.text) == (400, "One header Stripe-Signature is needed.\n")
    assert mailbox.taken == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SignatureError("The signature does not fit the body."), 400),
        (MalformedError((Violation(field="payload", must="must be JSON"),)), 400),
        (StoppingError("the ledger is being closed"), 503),
        (DatabaseUnavailableError("gone"), 503),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_stripe_is_told_whether_it_shall_send_an_event_again(error, status):
    with ServedApp(events=Mailbox(raising(error))) as ask:
        assert ask("POST", "/stripe/webhook", b"{}", Stripe_Signature="s").status == status


def test_an_event_that_cannot_be_stored_soon_is_asked_for_again(monkeypatch):
    monkeypatch.setattr(http, "STORING_S", 0.05)
    with ServedApp(events=Mailbox(asyncio.Event().wait)) as ask:
        assert ask("POST", "/stripe/webhook", b"{}", Stripe_Signature="s").status == 503


def test_a_bug_is_told_by_its_number_and_nothing_else(logged):
    with ServedApp(events=Mailbox(raising(ValueError("swordfish")))) as ask:
        answer = ask("POST", "/stripe/webhook", b"{}", Stripe_Signature="s")

    (broke,) = [event for event in logged if event["event"] == "http_broke"]
    assert (answer.status, answer.text) == (500, f"Something broke here. Its number is {broke['incident_id']}.\n")
    assert broke["route"] == "/stripe/webhook"


def test_without_payments_there_is_no_webhook(quiet):
    with ServedApp() as ask:
        assert ask("POST", "/stripe/webhook", b"{}", Stripe_Signature="s").status == 404


def test_paths_that_strangers_ask_for_make_no_figures_of_their_own(ask):
    for number in range(3):
        ask("GET", f"/nothing/{number}")

    assert 'scrip_http_seconds_count{route="none",status="404"} 3.0' in ask("GET", "/metrics").text


def test_a_request_under_way_is_answered_before_the_server_ends_and_no_other_is_taken():
    reached, go = threading.Event(), threading.Event()

    async def answers():
        reached.set()
        await asyncio.to_thread(go.wait)

    mailbox = Mailbox(answers)
    served = ServedApp(events=mailbox)
    with served as ask, ask.connected() as connection, ask.connected() as idle:
        connection.sendall(WEBHOOK + b"Content-Length: 2\r\n\r\n{}")
        assert reached.wait(PATIENCE_S)
        stopping = threading.Thread(target=served.stop, kwargs={"grace_s": PATIENCE_S})
        stopping.start()
        assert hung_up(idle)
        with pytest.raises(OSError), ask.connected():  # noqa: PT011 -- refused, or reset
            pass
        go.set()

        answer = answer_of(connection)
        stopping.join()
    assert answer.status == 200
    assert len(mailbox.taken) == 1


def test_a_request_that_takes_longer_than_the_grace_is_not_waited_for():
    reached = threading.Event()

    async def answers():
        reached.set()
        await asyncio.Event().wait()

    served = ServedApp(events=Mailbox(answers))
    with served as ask, ask.connected() as connection:
        connection.sendall(WEBHOOK + b"Content-Length: 2\r\n\r\n{}")
        assert reached.wait(PATIENCE_S)

        served.stop(grace_s=0.05)

        assert hung_up(connection)
