"""The load makes the calls that it says, at the instants that it says, and tells what became of each."""

import json
import random
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from contextlib import closing
from dataclasses import asdict

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from scrip import Client, Code, calls
from scrip.v1.credit_service_pb2 import CaptureRequest, CheckAndDeductRequest, HoldRequest, HoldResponse
from scrip.v1.types_pb2 import Balance

from server.load import USAGE, Load, LoadFailedError, account_id, http2, run
from server.load.headers import Headers, UnreadableError, read
from server.load.http2 import (
    ACK,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Connection,
    ConnectionLostError,
    frame,
)
from server.load.measuring import ClosedLoop, OpenLoop, measure
from server.load.requests import Requests
from tests.cli.processes import PATIENCE_S, serving

GRANTED = 10_000


@pytest.fixture
def load(ask_sqlite):
    """A short load on a server on which five accounts have credits; other fields by their names."""
    with Client(ask_sqlite.target) as client:
        client.configure_asset("credits", auto_open=True)
        client.batch([calls.grant(account_id(number), GRANTED, "free") for number in range(5)])

    def short(**fields):
        usual = {"address": ask_sqlite.target, "accounts": 5, "in_flight": 70, "warmup_s": 0.1, "measured_s": 0.2}
        return Load(**{**usual, **fields})

    return short


@pytest.fixture
def books(load, ask_sqlite):
    with Client(ask_sqlite.target) as client:
        yield client


def spent(client) -> int:
    """All there is to know of what was done: a request_id that came twice would have been done once."""
    (found,) = client.trial_balance(asset="credits").assets
    return sum(int(row.credits) for row in found.rows if row.code == Code.CODE_REVENUE)


def test_a_message_of_the_load_is_what_protobuf_makes():
    held = HoldResponse(entry_id="en_1", hold_id="hd_22", balance=Balance(account_id="c-000001", available=7))
    answer = b"\0\0\0\0\x2a" + held.SerializeToString()

    for number, (fields, message) in enumerate(
        (
            ({}, CheckAndDeductRequest(amount=1)),
            ({"operation": "hold"}, HoldRequest(amount=1)),
            ({"operation": "usage"}, CheckAndDeductRequest(usage=USAGE)),
            ({"asset": "bench", "account_prefix": "bench-"}, CheckAndDeductRequest(amount=1, asset="bench")),
        )
    ):
        run = number + (2**48 - 2)
        requests = Requests(Load(run=run, accounts=1000, **fields))
        message.account_id = account_id(int(random.Random(run).random() * 1000), fields.get("account_prefix", "c-"))
        message.request_id = f"{run:06x}-000000001"
        captured = CaptureRequest(request_id=f"{run:06x}-000000002", hold_id="hd_22")

        assert requests.new() == message.SerializeToString(deterministic=True)
        assert requests.capture(answer) == captured.SerializeToString()


def test_an_answer_to_a_hold_without_a_hold_is_noticed():
    with pytest.raises(LoadFailedError, match="a hold was answered with"):
        Requests(Load(accounts=1)).capture(b"\0\0\0\0\x03\x0a\x01x")


def test_every_call_of_a_closed_loop_is_a_deduction(load, books):
    figures = [measure(load(run=number)) for number in (1, 2)]

    assert all(one.calls >= 70 and one.spent == one.calls for one in figures)
    assert sum(one.calls for one in figures) == spent(books)
    assert all(0 < one.p50_ms <= one.p99_ms for one in figures)
    assert [(one.late, one.unsent, one.refused) for one in figures] == [(0, 0, ())] * 2


def test_every_hold_is_captured(load, books):
    figures = measure(load(operation="hold"))

    assert figures.spent == spent(books) > 0
    assert figures.calls == 2 * figures.spent
    assert [balance.held for number in range(5) for balance in books.balances(account_id(number))] == [0] * 5


def test_a_hot_load_is_on_one_account(load, books):
    figures = measure(load(hot=True))

    left = [books.balance(account_id(number)).available for number in range(5)]
    assert left == [GRANTED - figures.calls, *[GRANTED] * 4]


def test_an_open_loop_makes_each_call_of_its_rate(load, books):
    figures = measure(load(rate=400.0, in_flight=1_000, warmup_s=0.25, measured_s=0.5))

    assert (figures.calls, figures.late, figures.unsent) == (300, 0, 0)
    assert spent(books) == 300


def test_calls_of_a_rate_that_found_no_room_are_told(load, books):
    figures = measure(load(rate=100_000.0, in_flight=2, warmup_s=0.0, measured_s=0.1))

    assert figures.calls + figures.unsent == 10_000
    assert figures.calls == spent(books) > 0
    assert figures.late >= figures.unsent > 0


def test_a_call_that_waits_for_room_counts_from_when_it_was_due():
    pace = OpenLoop(Load(in_flight=2, warmup_s=0.0, measured_s=1.0), 10.0, begins=100.0)

    begun = [pace.due(100.0, room=2), pace.due(100.35, room=1), pace.due(100.36, room=0), pace.due(100.45, room=2)]

    assert begun == [[100.0], [100.1], [], [100.2, 100.3]]
    assert (pace.late, pace.unsent) == (3, 6)
    assert pace.next_at(room=True) == 100.4


def test_an_open_loop_begins_what_came_up_while_the_time_ended_and_then_no_more():
    pace = OpenLoop(Load(in_flight=9, warmup_s=0.0, measured_s=1.0), 10.0, begins=100.0)

    begun = [pace.due(100.95, room=8), pace.due(101.01, room=1), pace.due(101.02, room=9)]

    assert [len(instants) for instants in begun] == [8, 1, 0]
    assert (pace.is_over(101.02), pace.unsent) == (True, 1)


def test_a_closed_loop_begins_a_call_for_each_that_was_answered_until_the_time_is_over():
    pace = ClosedLoop(Load(in_flight=9, warmup_s=0.5, measured_s=0.5), begins=100.0)

    assert (pace.due(100.9, room=2), pace.due(101.0, room=2)) == ([100.9, 100.9], [])
    assert (pace.is_over(100.9), pace.is_over(101.0)) == (False, True)


def test_what_is_refused_is_counted_with_its_reason(load, books):
    figures = measure(load(accounts=1, account_prefix="none-", all_ok=False, asset="points"))

    (refused,) = figures.refused
    assert (refused.code, refused.reason, refused.in_doubt) == ("NOT_FOUND", "ASSET_NOT_FOUND", False)
    assert refused.message == "Asset points is not defined. Define it with DefineAsset first."
    assert refused.calls >= 70
    assert (figures.calls, figures.spent, figures.p50_ms) == (0, 0, None)


def test_a_load_that_spends_all_there_is_has_the_rest_refused(load, books):
    books.grant("few-000000", 100, "free")

    figures = measure(load(hot=True, account_prefix="few-", all_ok=False))

    assert (figures.calls, figures.spent) == (100, 100)
    assert {refused.reason for refused in figures.refused} == {"INSUFFICIENT_CREDITS"}


def test_a_refused_call_ends_a_load_that_must_be_all_ok(load):
    with pytest.raises(LoadFailedError, match="NOT_FOUND ASSET_NOT_FOUND: Asset points is not defined"):
        run(load(asset="points"))


def test_a_load_on_nobody_fails():
    with pytest.raises(LoadFailedError, match=r"127\.0\.0\.1:1: .*refused"):
        run(Load(address="127.0.0.1:1", accounts=1))


def test_calls_of_a_server_that_is_killed_are_in_doubt(sqlite_url):
    found = []
    with serving("--database", sqlite_url) as server, Client(server.target) as client:
        client.configure_asset("credits", auto_open=True)
        client.grant(account_id(0), 10**9, "free")
        load = Load(address=server.target, accounts=1, measured_s=60, all_ok=False)
        thread = threading.Thread(target=lambda: found.append(run(load)))
        thread.start()
        while spent(client) < 100:
            pass
        server.process.kill()
        thread.join(PATIENCE_S)
    with serving("--database", sqlite_url) as server, Client(server.target) as client:
        in_books = spent(client)

    (figures,) = found
    (refused,) = figures.refused
    assert (refused.code, refused.calls, refused.in_doubt) == ("UNAVAILABLE", 64, True)
    assert figures.spent <= in_books <= figures.spent + refused.calls


def test_a_load_ends_when_nobody_waits_for_it(load):
    command = [sys.executable, "-m", "server.load"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        said = process.communicate(json.dumps(asdict(load(measured_s=600.0))) + "\n", timeout=PATIENCE_S)

    assert (process.returncode, said) == (1, ("", "nobody waits for the figures any longer\n"))


@pytest.fixture
def connected():
    """A connection, and the server's end of it, from which nothing is read yet."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with closing(Connection(address, timeout_s=PATIENCE_S)) as connection, listening.accept()[0] as peer:
            peer.settimeout(PATIENCE_S)
            yield connection, peer


@pytest.fixture
def answers(connected):
    """What a connection makes of the frames that a server sends."""
    connection, peer = connected

    def answers(*frames):
        peer.sendall(b"".join(frames))
        return connection.answers()

    return answers


def fields(**told: bytes | str) -> bytes:
    """A block of header fields, none of them to be remembered; `_` is a hyphen."""
    block = b""
    for name, value in told.items():
        text = value.encode() if isinstance(value, str) else value
        block += b"\0" + bytes([len(name)]) + name.replace("_", "-").encode()
        # A length of more than seven bits goes on in the next bytes.
        extra = len(text) - 127
        block += bytes([len(text)]) if extra < 0 else bytes([127, extra & 127 | 128, extra >> 7])
        block += text
    return block


OK = frame(HEADERS, 5, 1, fields(grpc_status="0"))
MESSAGE = frame(DATA, 0, 1, b"\0\0\0\0\1x")


def test_an_answer_is_its_message_however_it_is_cut(answers):
    sent = MESSAGE[:9].replace(b"\6", b"\3") + MESSAGE[9:12], MESSAGE[:9].replace(b"\6", b"\3") + MESSAGE[12:], OK

    assert answers(*sent[:2], OK[:7]) == []
    assert answers(OK[7:]) == [(1, b"\0\0\0\0\1x", None)]


@pytest.mark.parametrize("as_text", [False, True], ids=["as it is", "as text"])
def test_a_refusal_has_its_code_reason_and_message(answers, as_text):
    status = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION)
    status.details.add().Pack(error_details_pb2.RetryInfo())
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="INSUFFICIENT_CREDITS", domain="scrip"))
    packed = status.SerializeToString()
    details = b64encode(packed).rstrip(b"=") if as_text else b"\0" + packed
    told = {"grpc_status": "9", "grpc_message": "100%25 gone", "grpc_status_details_bin": details}

    ((stream, message, refused),) = answers(frame(HEADERS, 5, 7, fields(**told)))

    assert (stream, message) == (7, b"")
    assert (refused.code, refused.reason, refused.message) == (
        "FAILED_PRECONDITION",
        "INSUFFICIENT_CREDITS",
        "100% gone",
    )
    assert not refused.in_doubt


@pytest.mark.parametrize(
    ("frames", "code", "message"),
    [
        ([frame(HEADERS, 5, 1, fields(grpc_status="14", grpc_message="gone"))], "UNAVAILABLE", "gone"),
        ([frame(HEADERS, 5, 1, fields(grpc_status="99"))], "UNKNOWN", ""),
        ([OK], "UNKNOWN", ""),
        ([frame(HEADERS, 5, 1, b"\x8d")], "UNKNOWN", "The answer is of HTTP (404), not of gRPC."),
        ([frame(HEADERS, 5, 1, b"\x08\x03502")], "UNKNOWN", "The answer is of HTTP (502), not of gRPC."),
        ([MESSAGE, frame(DATA, 1, 1, b"")], "UNKNOWN", "The answer is of HTTP, not of gRPC."),
        ([frame(RST_STREAM, 0, 1, b"\0\0\0\7")], "UNAVAILABLE", "The server ended the stream (error 7 of HTTP/2)."),
    ],
)
def test_a_call_that_ends_in_another_way_is_in_doubt(answers, frames, code, message):
    ((_, _, refused),) = answers(*frames)

    assert (refused.code, refused.message, refused.in_doubt) == (code, message, True)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (frame(GOAWAY, 0, 0, bytes(8) + b"max_age"), "the server ends the connection: max_age"),
        (frame(DATA, 8, 1, b"\0"), "cuts or pads its frames"),
        (frame(HEADERS, 5, 1, b"\xbe"), "refers to a table"),
        (frame(HEADERS, 5, 1, b"\x00\x09grpc"), "cut off"),
    ],
)
def test_what_cannot_be_followed_ends_the_connection(answers, sent, why):
    with pytest.raises(ConnectionLostError, match=why):
        answers(sent)


def test_what_the_server_asks_of_a_connection_is_done(connected, answers, monkeypatch):
    monkeypatch.setattr(http2, "WINDOW_STEP", 5)
    ping = frame(PING, 0, 0, b"12345678")

    answers(frame(SETTINGS, 0, 0, b""), ping, frame(PING, ACK, 0, b"not this"), frame(SETTINGS, ACK, 0, b""), MESSAGE)

    sent = b""
    while len(sent) < len(http2.PREFACE) + 9 + 12 + 13 + 9 + 17 + 13:
        sent += connected[1].recv(4096)
    # The acknowledgements, and room for as many bytes as were taken.
    asked = frame(SETTINGS, ACK, 0, b"") + frame(PING, ACK, 0, b"12345678") + frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\6")
    assert sent.endswith(asked)


def test_a_server_that_reads_nothing_is_given_up(connected):
    connection, _ = connected
    _, call = connection.call("/a", b"x" * 65_530)
    connection.send(call)
    connection.send(connection.call("/a", b"y")[1])

    with pytest.raises(ConnectionLostError, match="the server does not take what it is sent"):
        connection.answers()


def test_header_fields_of_any_kind_are_read():
    packed = bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff")
    assert read(b"\x20\x88\x40\x01a\x8c" + packed + b"\x10\x01b\x01c\x0f\x10\x01d") == {
        b":status": b"200",
        b"a": b"www.example.com",
        b"b": b"c",
    }
    with pytest.raises(UnreadableError, match="a length has no end"):
        read(b"\x00\x7f" + b"\xff" * 9)


def test_headers_refer_to_what_was_sent_before():
    headers = Headers("h:1", timeout_s=3)

    first, again, other, first_again = (headers.block(path) for path in ("/a", "/a", "/b", "/a"))

    assert first.startswith(b"\x83\x86\x44\x02/a\x41\x03h:1")
    assert again == b"\x83\x86\xc2\xc1\xc0\xbf\xbe"
    # What came last has the number 62, and what was there before moves on by one.
    assert other == b"\x83\x86\x44\x02/b\xc2\xc1\xc0\xbf"
    assert (first_again, headers.block("/b")) == (b"\x83\x86\xc3\xc2\xc1\xc0\xbf", b"\x83\x86\xbe\xc2\xc1\xc0\xbf")
