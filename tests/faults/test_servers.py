"""Servers whose database is not there, goes away, or is not theirs to use; and ports that are taken."""

import subprocess
from contextlib import ExitStack

import grpc
import psycopg
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.books import request_id
from tests.conftest import audited
from tests.faults.customers import PATIENCE_S
from tests.faults.processes import SCRIP, ScripProcess, ScripWithWorkers, ledger_elsewhere, stopped, until
from tests.server.asking import asking


def health(ask):
    return HealthStub(ask.channel).Check(HealthCheckRequest(), timeout=PATIENCE_S).status


def is_answered(ask, rpc, **fields):
    try:
        ask(rpc, **fields)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    return True


def assert_unavailable(ask):
    """Changes and reads alike say that the database is not there and when to come again."""
    for rpc in ("CheckAndDeduct", "GetBalance", "TrialBalance", "DefineAsset"):
        fields = {"asset": "tokens"} if rpc == "DefineAsset" else {}
        told = ask.refusal(rpc, **fields)
        assert (told.code, told.reason) == ("UNAVAILABLE", "DATABASE_UNAVAILABLE")
        assert told.retry_after_s > 0


def test_a_server_that_starts_before_its_database_says_so_and_serves_once_it_is_there(cluster):
    with audited(cluster.create_database()) as url, ExitStack() as stack:
        with stopped(cluster):
            ask = stack.enter_context(asking(url))
            assert health(ask) == HealthCheckResponse.NOT_SERVING
            assert_unavailable(ask)

        until(lambda: health(ask) == HealthCheckResponse.SERVING)
        ask("OpenAccount")
        assert ask("Grant", amount=100).balance.available == 100


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_whose_database_goes_away_and_comes_back_needs_no_restart(cluster, mode):
    with audited(cluster.create_database()) as url, asking(url) as ask:
        ask("OpenAccount")
        ask("Grant", amount=100)
        unheard = {"request_id": request_id(), "amount": 30}

        with stopped(cluster, mode):
            assert_unavailable(ask)
            assert ask.refusal("CheckAndDeduct", **unheard).reason == "DATABASE_UNAVAILABLE"

        until(lambda: is_answered(ask, "CheckAndDeduct", **unheard))
        assert ask("CheckAndDeduct", **unheard).replayed
        until(lambda: is_answered(ask, "GetBalance"))
        assert ask("GetBalance").balances[0].available == 70


def run(directory, *arguments):
    """Runs `scrip` to its end; returns its exit code and what it said."""
    done = subprocess.run(
        [SCRIP, *arguments], cwd=directory, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return done.returncode, done.stdout + done.stderr


def assert_ends_with(said, code, *words):
    assert code != 0
    assert all(word in said for word in words), said
    assert "Traceback" not in said


def test_a_port_that_is_taken_ends_the_server_with_its_name(sqlite_url, tmp_path):
    with ScripProcess(sqlite_url, tmp_path) as server:
        other = f"--database=sqlite:///{tmp_path}/other.db"

        code, said = run(tmp_path, "serve", f"--listen={server.target}", other)

    assert_ends_with(said, code, server.target, "taken", "--listen")


def test_a_sqlite_file_that_another_server_holds_ends_the_server_with_its_name(sqlite_url, tmp_path):
    with ledger_elsewhere(sqlite_url):
        code, said = run(tmp_path, "serve", "--listen=127.0.0.1:0", f"--database={sqlite_url}")

    assert_ends_with(said, code, "Another Scrip server holds", "scrip.db")


def test_a_database_of_a_newer_schema_ends_the_server(postgres, tmp_path):
    url = postgres.create_database()
    assert run(tmp_path, "migrate", f"--database={url}")[0] == 0
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    code, said = run(tmp_path, "serve", "--listen=127.0.0.1:0", f"--database={url}")

    assert_ends_with(said, code, "9999", "Use a newer Scrip")


@pytest.mark.parametrize("kind", [ScripProcess, ScripWithWorkers], ids=["alone", "with workers"])
def test_a_database_of_a_newer_schema_that_comes_late_ends_the_server(cluster, tmp_path, kind):
    url = cluster.create_database()
    assert run(tmp_path, "migrate", f"--database={url}")[0] == 0
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    server = kind(url, tmp_path)
    with stopped(cluster):
        server.start()

    assert server.wait() == 1
    assert "Use a newer Scrip" in server.log
    assert "Traceback" not in server.log


def test_a_file_that_is_no_database_ends_the_server(tmp_path):
    (tmp_path / "diary").write_text("Dear diary,\n" * 1_000)

    code, said = run(tmp_path, "serve", "--listen=127.0.0.1:0", "--database=sqlite:///diary")

    assert_ends_with(said, code, "not a database")


@pytest.mark.parametrize("kind", [ScripProcess, ScripWithWorkers], ids=["alone", "with workers"])
def test_a_server_without_its_database_stops_when_it_is_told_to(tmp_path, kind):
    server = kind("postgresql://nobody@127.0.0.1:1/none", tmp_path)
    server.start()

    server.terminate()

    assert server.wait() == 0
    assert "database_unavailable" in server.log
