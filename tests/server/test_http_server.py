"""The HTTP side of a whole server: whether it is there, what it tells, and when it ends."""

import asyncio
import re
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

from ledger import EventState
from server import http
from server.app import Server
from server.config import Settings
from server.metrics import Metrics
from server.port import PortTakenError
from tests.books import rows_of
from tests.fake_stripe import FakeStripe
from tests.running_server import RunningServer
from tests.server.asking import asking
from tests.server.gate import Gate
from tests.server.http_asking import PATIENCE_S, HttpAsking, answer_of, hung_up

DOCUMENTED = Path(__file__).parent.parent.parent / "docs" / "http.md"
# Nothing listens on port 1.
NO_DATABASE = "postgresql://postgres@127.0.0.1:1/scrip"


def serving(url, clock=None, **settings):
    usual = {"listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0", "database": url, "sweep_s": 0, "drain_s": 0}
    return RunningServer(Settings(**{**usual, **settings}), clock or Gate("nobody"))


def test_a_server_is_live_and_ready_once_its_books_are_open(sqlite_url):
    with serving(sqlite_url) as server:
        ask = HttpAsking(server.http_port)

        assert [ask("GET", path).status for path in ("/healthz", "/readyz")] == [200, 200]


def test_a_server_without_its_database_is_live_and_not_ready():
    with serving(NO_DATABASE) as server:
        ask = HttpAsking(server.http_port)

        assert [ask("GET", path).status for path in ("/healthz", "/readyz")] == [200, 503]


def test_http_is_off_unless_it_is_asked_for(sqlite_url):
    with serving(sqlite_url, http_listen="") as server:
        assert server.port > 0
        assert server.http_port == 0


def test_a_port_of_http_that_is_taken_is_an_error_that_names_the_flag_and_touches_no_database(sqlite_url, tmp_path):
    with serving(sqlite_url) as first:
        taken = f"127.0.0.1:{first.http_port}"
        second = serving(f"sqlite:///{tmp_path / 'second.db'}", http_listen=taken)

        with pytest.raises(PortTakenError, match=rf"^{taken} cannot be listened on.*--http-listen\.$"), second:
            pass

    assert not (tmp_path / "second.db").exists()


def test_the_figures_count_calls_batches_and_requests(sqlite_url, clock):
    with asking(sqlite_url, clock, http_listen="127.0.0.1:0") as asked:
        asked("OpenAccount")
        asked("Grant", amount=100)
        for _ in range(3):
            asked("CheckAndDeduct", amount=10)
        asked.refusal("CheckAndDeduct", amount=1_000)
        ask = HttpAsking(asked.http_port)
        ask("GET", "/healthz")
        answer = ask("GET", "/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=")
    figures = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert figures['scrip_rpc_seconds_count{code="OK",method="CheckAndDeduct"}'] == "3.0"
    assert figures['scrip_rpc_seconds_count{code="FAILED_PRECONDITION",method="CheckAndDeduct"}'] == "1.0"
    assert figures['scrip_rpc_seconds_bucket{code="OK",le="+Inf",method="Grant"}'] == "1.0"
    assert float(figures['scrip_rpc_seconds_sum{code="OK",method="Grant"}']) > 0
    assert figures["scrip_batch_operations_count"] == "6.0"
    assert figures["scrip_batch_operations_sum"] == "6.0"
    assert figures["scrip_batch_seconds_count"] == "6.0"
    assert figures["scrip_batch_collisions_total"] == "0.0"
    assert figures["scrip_queue_operations"] == "0.0"
    assert figures['scrip_http_seconds_count{route="/healthz",status="200"}'] == "1.0"
    assert "worker" not in answer.text


def test_the_figures_count_what_becomes_of_events_and_how_long_stripe_takes():
    metrics = Metrics()
    before = metrics.told().decode()

    metrics.note_event(EventState.SET_ASIDE)
    metrics.note_stripe_call("create_session", "ok", 0.3)

    assert [line for line in before.splitlines() if line.startswith("scrip_stripe_events_total")] == [
        f'scrip_stripe_events_total{{state="{state}"}} 0.0' for state in EventState
    ]
    after = metrics.told().decode()
    assert 'scrip_stripe_events_total{state="set_aside"} 1.0' in after
    assert 'scrip_stripe_call_seconds_bucket{call="create_session",le="0.2",outcome="ok"} 0.0' in after
    assert 'scrip_stripe_call_seconds_bucket{call="create_session",le="0.5",outcome="ok"} 1.0' in after


def test_the_documentation_lists_every_figure():
    told = set(re.findall(r"^# TYPE (scrip_\w+) ", Metrics().told().decode(), re.MULTILINE))

    documented = re.findall(r"^\| `(scrip_\w+)` \|", DOCUMENTED.read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(documented) == sorted(told)


def test_two_servers_of_one_process_count_apart():
    one, other = Metrics(), Metrics()

    one.note_call("Grant", "OK", 0.001)

    assert b"Grant" in one.told()
    assert b"Grant" not in other.told()


def test_a_worker_tells_its_figures_under_its_number(sqlite_url):
    assert 'scrip_queue_operations{worker="2"} 0.0' in uvloop.run(_figures_of_worker(sqlite_url, 2))


async def _figures_of_worker(url, worker):
    server = Server(Settings(listen="127.0.0.1:0", http_listen="127.0.0.1:0", database=url, drain_s=0), worker=worker)
    await server.start()
    answer = await asyncio.to_thread(HttpAsking(server.http_port), "GET", "/metrics")
    await server.stop()
    return answer.text


def test_a_server_that_stops_answers_http_before_it_drains_the_books(sqlite_url):
    uvloop.run(_stop_with_http(sqlite_url))


async def _stop_with_http(url):
    server = Server(Settings(listen="127.0.0.1:0", http_listen="127.0.0.1:0", database=url))
    await server.start()
    ask = HttpAsking(server.http_port)
    with ask.connected() as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await asyncio.to_thread(answer_of, connection)).status == 200
        await asyncio.wait_for(server.stop(), PATIENCE_S)
        assert hung_up(connection)


def test_an_event_that_is_being_stored_when_the_server_stops_is_stored_and_stripe_told_so(sqlite_url, monkeypatch):
    monkeypatch.setattr(http, "STORING_S", PATIENCE_S)
    gate = Gate("scrip-webhook")
    with FakeStripe(clock=lambda: int(gate.now.timestamp())) as stripe:
        asked = {"mode": "payment", "success_url": "https://shop.example/", "cancel_url": "https://shop.example/"}
        stripe.world.expire(stripe.world.session(asked, 100, "eur")["id"])

        statuses = uvloop.run(_stop_while_storing(sqlite_url, stripe, gate))

    assert statuses == [200]
    assert rows_of(sqlite_url)["stripe_events"].total() == 1


async def _stop_while_storing(url, stripe, gate):
    settings = Settings(
        listen="127.0.0.1:0",
        http_listen="127.0.0.1:0",
        database=url,
        stripe_api_key=stripe.api_key,
        stripe_webhook_secret=stripe.secret,
        stripe_api_base=stripe.url,
    )
    server = Server(settings, clock=gate)
    await server.start()
    stripe.webhook_url = f"http://127.0.0.1:{server.http_port}/stripe/webhook"
    with gate.closed():
        sending = asyncio.create_task(asyncio.to_thread(stripe.send, stripe.world.events, at=int(gate.now.timestamp())))
        await asyncio.to_thread(gate.wait_until_reached)
        stopping = asyncio.create_task(server.stop())
        await asyncio.to_thread(_ask_until_nobody_answers, HttpAsking(server.http_port))
    await asyncio.wait_for(stopping, PATIENCE_S)
    return await sending


def _ask_until_nobody_answers(ask):
    with suppress(OSError):
        while True:
            ask("GET", "/healthz")
