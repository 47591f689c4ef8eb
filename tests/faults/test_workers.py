"""Several processes behind one port: whichever dies comes back, nothing is lost, nothing is done twice."""

import asyncio
import signal
import subprocess
from contextlib import ExitStack

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from sqlalchemy import select, update

from ledger import utc_now
from ledger.database import Database
from ledger.store import WRITER_LEASE
from ledger.tables import writers
from tests.books import SECOND
from tests.conftest import audited
from tests.faults.customers import PATIENCE_S, customers, stored
from tests.faults.load import Load
from tests.faults.processes import SCRIP, ScripProcess, ScripWithWorkers, stopped, until
from tests.faults.told import assert_written_once

CALLERS = 24
# Enough for every worker to have some: which one a connection comes to is a matter of luck.
CONNECTIONS = 12


@pytest.fixture
def server(postgres_url, tmp_path):
    with ScripWithWorkers(postgres_url, tmp_path) as server:
        yield server
        if server.is_running:
            server.terminate()
            assert server.wait() == 0, server.log


@pytest.fixture
def load(server):
    load = Load([server.target] * CONNECTIONS, customers(8), credits_each=1_000)
    asyncio.run(load.open_accounts())
    return load


async def end_workers_under_load(load, server, number, times):
    """Ends one worker after the other, each when the one before is back and there were answers again."""
    goes_on = True
    running = asyncio.create_task(load.run_while(CALLERS, lambda: goes_on))
    for turn in range(times):
        enough = len(load.answered) + 100
        await asyncio.to_thread(until, lambda enough=enough: len(load.answered) > enough or running.done())
        await asyncio.to_thread(server.replace, 1 + turn % 2, number=number)
    goes_on = False
    await running


def test_a_worker_killed_under_load_comes_back_and_nothing_is_lost_or_done_twice(postgres_url, server, load):
    asyncio.run(end_workers_under_load(load, server, signal.SIGKILL, times=2))

    assert load.unanswered
    assert_written_once(postgres_url, load.answered, load.unanswered)
    asyncio.run(load.ask_again())
    assert_written_once(postgres_url, load.answered, ())
    assert [len(server.pids(worker)) for worker in (1, 2)] == [2, 2]


def test_a_worker_told_to_end_answers_what_it_has_written_and_another_takes_its_place(postgres_url, server, load):
    asyncio.run(end_workers_under_load(load, server, signal.SIGTERM, times=1))

    # What was not answered was told that the server stops, or came too late to be told.
    assert_written_once(postgres_url, load.answered, ())
    assert server.logged_by_workers("stopped") == [1]


def test_workers_told_to_stop_under_load_are_drained_together(postgres_url, server, load):
    asyncio.run(load.run(CALLERS, 300, server.terminate))

    assert server.wait() == 0, server.log
    assert len(load.unanswered) == CALLERS
    assert_written_once(postgres_url, load.answered, ())
    assert sorted(server.logged_by_workers("stopped")) == [1, 2]
    assert "worker" not in server.events[-1]
    assert server.events[-1]["event"] == "stopped"


def writer_ids(url):
    return {row.writer for row in stored(url, select(writers))}


def let_leases_run_out(url):
    """As if nobody had written anything since."""
    database = Database(url)
    with database.write() as connection:
        connection.execute(update(writers).values(renewed_at=utc_now() - WRITER_LEASE - SECOND))
        connection.commit()
    database.close()


def test_workers_killed_again_and_again_take_the_writer_ids_of_the_dead(postgres_url, server, load):
    assert writer_ids(postgres_url) <= {1, 2}
    for _ in range(2):
        let_leases_run_out(postgres_url)
        server.replace(1, 2)
        answered = len(load.answered)
        asyncio.run(load.run_while(CALLERS, lambda: len(load.answered) < answered + 100))  # noqa: B023 -- called at once

        assert writer_ids(postgres_url) <= {1, 2}
    assert load.unanswered == []
    assert_written_once(postgres_url, load.answered, ())


def test_a_worker_that_dies_again_and_again_is_given_ever_longer_pauses(server):
    for _ in range(3):
        server.replace(2)

    ended = [event for event in server.events if event["event"] == "worker_ended"]
    assert [(event["worker"], event["why"], event["restart_in_s"]) for event in ended] == [
        (2, "SIGKILL", 0.1),
        (2, "SIGKILL", 0.2),
        (2, "SIGKILL", 0.4),
    ]


def test_workers_end_when_their_supervisor_is_killed_and_leave_the_port_to_the_next(server):
    server.kill()

    until(lambda: sorted(server.logged_by_workers("stopped")) == [1, 2])
    server.start()


def health(target):
    with grpc.insecure_channel(target) as channel:
        return HealthStub(channel).Check(HealthCheckRequest(), timeout=PATIENCE_S, wait_for_ready=True).status


def test_workers_that_start_before_their_database_all_serve_once_it_is_there(cluster, tmp_path):
    with audited(cluster.create_database()) as url, ExitStack() as stack:
        with stopped(cluster):
            server = stack.enter_context(ScripWithWorkers(url, tmp_path, workers=3))
            assert health(server.target) == HealthCheckResponse.NOT_SERVING

        until(lambda: sorted(server.logged_by_workers("database_opened")) == [1, 2, 3])
        assert health(server.target) == HealthCheckResponse.SERVING
        server.terminate()
        assert server.wait() == 0


def test_servers_with_workers_that_start_at_once_on_an_empty_database_all_serve(postgres, tmp_path):
    url = postgres.create_database()
    command = [SCRIP, "serve", "--workers=2", "--listen=127.0.0.1:0", f"--database={url}"]
    with ExitStack() as stack:
        servers = [
            stack.enter_context(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True))
            for _ in range(2)
        ]
        serve = [any(line.startswith("Try it") for line in server.stdout) for server in servers]
        for server in servers:
            server.terminate()
        assert [server.wait(PATIENCE_S) for server in servers] == [0, 0]
    assert serve == [True, True]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_port_that_workers_share_is_taken_for_everybody_else(server, postgres_url, tmp_path, workers):
    command = [SCRIP, "serve", f"--listen={server.target}", f"--workers={workers}", f"--database={postgres_url}"]

    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert ended.returncode == 1
    assert f"Error: {server.target} cannot be listened on: it is taken" in ended.stderr
    assert ended.stdout == ""


def test_a_port_that_a_lone_server_has_is_taken_for_workers(postgres_url, tmp_path):
    with ScripProcess(postgres_url, tmp_path) as server:
        command = [SCRIP, "serve", f"--listen={server.target}", "--workers=2", f"--database={postgres_url}"]

        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert ended.returncode == 1
    assert f"Error: {server.target} cannot be listened on: it is taken" in ended.stderr
