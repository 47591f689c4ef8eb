"""`scrip serve`, in a process of its own."""

import json
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import grpc
import pytest
import scrip
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from ledger import Ledger
from tests.books import ACME
from tests.cli.processes import PATIENCE_S, ROOT, ran, serving
from tests.fake_stripe import API_KEY, FakeStripe, Fault


def test_the_line_it_prints_works_when_it_is_pasted(sqlite_url):
    with serving("--database", sqlite_url) as server:
        pasted = server.welcome.split("\n\n", 1)[1]
        runs = [
            subprocess.run(
                ["sh", "-c", pasted], cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE_S
            )
            for _ in range(2)
        ]

    first, second = (json.loads(run.stdout) for run in runs)
    assert first["balance"] == {"accountId": "acme", "asset": "credits"}
    assert second == {**first, "replayed": True}


def test_without_settings_it_keeps_its_books_in_the_directory_data(tmp_path):
    with serving(directory=tmp_path) as server, scrip.Client(server.target) as client:
        client.open_account("acme")
        server.stop()

    assert (tmp_path / "data" / "scrip.db").stat().st_size > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_told_to_stop_it_loses_nothing_it_has_acknowledged_and_ends_with_0(sqlite_url, number):
    with serving("--database", sqlite_url, "--log-format", "json") as server, scrip.Client(server.target) as client:
        client.open_account("acme")
        client.grant("acme", 1_000_000, "promo")
        with ThreadPoolExecutor(8) as threads:
            callers = [threads.submit(_spend_until_told_off, server.target) for _ in range(8)]
            while client.balance("acme").available > 1_000_000 - 200:
                pass
            logged = server.stop(number)
            spent, codes = zip(*(caller.result(PATIENCE_S) for caller in callers), strict=True)

    assert server.process.returncode == 0
    assert set(codes) == {"UNAVAILABLE"}
    assert [json.loads(line)["event"] for line in logged.splitlines()][-2:] == ["stopping", "stopped"]
    with Ledger(sqlite_url) as ledger:
        (balance,) = ledger.balances(ACME.tenant, ACME.account_id, ACME.asset).balances
    assert 1_000_000 - sum(spent) - 8 <= balance.available <= 1_000_000 - sum(spent)


@pytest.mark.parametrize(("engine", "workers"), [("sqlite", 1), ("postgres", 2)])
def test_told_to_stop_a_second_time_it_does_not_wait_for_what_takes_long(request, engine, workers):
    url = request.getfixturevalue(f"{engine}_url")
    with (
        serving("--database", url, "--workers", str(workers), "--drain-s", "600") as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        watched = HealthStub(channel).Watch(HealthCheckRequest())
        assert next(watched).status == HealthCheckResponse.SERVING

        server.process.terminate()
        assert next(watched).status == HealthCheckResponse.NOT_SERVING
        server.stop()

    assert server.process.returncode == 0


def _spend_until_told_off(target: str) -> tuple[int, str]:
    """How many deductions were acknowledged, and the code of the first that was not."""
    with scrip.Client(target, channel_options=[("grpc.enable_retries", 0)]) as client:
        for spent in count():
            try:
                client.check_and_deduct("acme", 1)
            except scrip.ScripError as error:
                return spent, error.code.name
    raise AssertionError("count has no end")


def test_a_port_that_is_taken_is_an_error_that_says_so(sqlite_url, tmp_path):
    with serving("--database", sqlite_url) as first:
        second = ran("serve", "--listen", first.target, "--database", f"sqlite:///{tmp_path / 'second.db'}")

    assert second.returncode == 1
    assert f"Error: {first.target} cannot be listened on: it is taken" in second.stderr
    assert second.stdout == ""


def test_a_file_that_another_server_holds_is_an_error_that_says_so(sqlite_url):
    with serving("--database", sqlite_url) as first:
        second = ran("serve", "--listen", "127.0.0.1:0", "--database", sqlite_url)
        with scrip.Client(first.target) as client:
            client.open_account("acme")

    assert second.returncode == 1
    assert "Error: Another Scrip server holds " in second.stderr


def test_several_workers_on_a_file_are_an_error_that_says_why_and_what_to_do(tmp_path):
    served = ran("serve", "--workers", "2", "--database", f"sqlite:///{tmp_path / 'scrip.db'}")

    assert served.returncode == 1
    assert served.stderr == (
        "Error: 2 workers cannot share a SQLite file, which has one writer: "
        "use PostgreSQL (--database postgresql://...) or --workers 1.\n"
    )
    assert not (tmp_path / "scrip.db").exists()


def test_a_server_says_what_of_http_it_serves_and_what_the_rest_lacks(sqlite_url):
    payments = ("--stripe-api-key", "sk_test_of_nobody", "--stripe-webhook-secret", "whsec_of_nobody_at_all")
    with serving("--database", sqlite_url, "--log-format", "json", "--http-listen", "127.0.0.1:0", *payments) as server:
        logged = server.stop()

    (began,) = [event for event in map(json.loads, logged.splitlines()) if event["event"] == "serving"]
    assert (began["webhook"], began["purchase_page"]) == ("served", "not without public_url, link_secret")


def test_workers_are_told_apart_in_the_log_and_serve_once_all_of_them_do(postgres_url):
    with serving(
        "--database", postgres_url, "--workers", "3", "--log-format", "json", "--log-level", "debug"
    ) as server:
        with scrip.Client(server.target) as client:
            client.open_account("acme")
        logged = server.stop()

    events = [json.loads(line) for line in logged.splitlines()]
    names = [event["event"] for event in events]
    assert names.count("serving") == 1
    assert sorted(event["worker"] for event in events[: names.index("serving")] if "pid" in event) == [1, 2, 3]
    assert events[names.index("serving")]["listen"] == server.target
    assert [event.get("worker") in {1, 2, 3} for event in events if event["event"] in {"rpc", "batch"}] == [True, True]
    assert names[-1] == "stopped"
    assert sorted(event["worker"] for event in events if event["event"] == "stopped" and "worker" in event) == [1, 2, 3]


def test_a_file_that_is_no_database_is_an_error_and_nothing_to_wait_for(tmp_path):
    (tmp_path / "no.db").write_text("x" * 500)

    served = ran("serve", "--listen", "127.0.0.1:0", "--database", f"sqlite:///{tmp_path / 'no.db'}")

    assert served.returncode == 1
    assert "Error: The file is not a database. Choose another file." in served.stderr


def test_the_log_has_events_with_fields_and_no_password(postgres_url):
    url = postgres_url.replace("postgres@", "postgres:swordfish@")
    with serving("--database", url, "--log-format", "json", "--log-level", "debug") as server:
        with scrip.Client(server.target) as client:
            client.open_account("acme", metadata={"card": "4111-1111"})
        logged = server.stop()

    events = [json.loads(line) for line in logged.splitlines()]
    assert {"serving", "rpc", "batch", "stopping", "stopped"} <= {event["event"] for event in events}
    assert next(event for event in events if event["event"] == "serving")["listen"] == server.target
    assert "swordfish" not in logged + server.welcome
    assert "4111-1111" not in logged


def test_told_to_stop_it_does_not_wait_for_stripe(sqlite_url):
    urls = {"success_url": "https://shop.example/done", "cancel_url": "https://shop.example/"}
    contents = [scrip.PackageContent(credits=1000)]
    with FakeStripe() as stripe:
        its = ("--stripe-api-key", API_KEY, "--stripe-api-base", stripe.url)
        with (
            serving("--database", sqlite_url, "--drain-s", "1", *its) as server,
            scrip.Client(server.target) as client,
            ThreadPoolExecutor(1) as threads,
        ):
            client.create_package("starter", title="Starter", price=(1999, "EUR"), contents=contents)
            stripe.faults.append(Fault("slow", path="/v1/checkout/sessions", times=9, after_s=2 * PATIENCE_S))
            buying = threads.submit(client.create_checkout, "acme", package="starter", **urls)
            while not stripe.calls:
                assert not buying.done(), buying.result()
            began = time.monotonic()
            server.stop()
            took_s = time.monotonic() - began
            client.close()

    assert server.process.returncode == 0
    assert took_s < PATIENCE_S / 2
    assert isinstance(buying.exception(), scrip.ScripError)
