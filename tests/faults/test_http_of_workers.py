"""The HTTP side of several processes behind one port."""

import re
import subprocess

import pytest

from tests.faults.customers import PATIENCE_S
from tests.faults.processes import SCRIP, ScripWithWorkers, until
from tests.postgres import free_port
from tests.server.http_asking import HttpAsking


@pytest.fixture
def http_port():
    return free_port()


@pytest.fixture
def server(postgres_url, tmp_path, http_port):
    with ScripWithWorkers(postgres_url, tmp_path, f"--http-listen=127.0.0.1:{http_port}") as server:
        yield server
        if server.is_running:
            server.terminate()
            assert server.wait() == 0, server.log


def worker_that_answers(ask):
    (worker,) = re.findall(r'scrip_queue_operations\{worker="(\d)"\}', ask("GET", "/metrics").text)
    return int(worker)


def test_each_worker_answers_and_tells_its_own_figures(server, http_port):
    ask = HttpAsking(http_port)

    answered = set()
    until(lambda: answered.add(worker_that_answers(ask)) or answered == {1, 2})

    assert ask("GET", "/readyz").status == 200
    (serving,) = [event for event in server.events if event["event"] == "serving"]
    assert serving["http_listen"] == f"127.0.0.1:{http_port}"


def test_a_worker_that_comes_back_has_the_port_again(server, http_port):
    server.replace(1)

    ask = HttpAsking(http_port)
    until(lambda: worker_that_answers(ask) == 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_of_http_that_workers_share_is_taken_for_everybody_else(
    server, postgres_url, tmp_path, http_port, workers
):
    command = [
        SCRIP, "serve", "--listen=127.0.0.1:0", f"--http-listen=127.0.0.1:{http_port}", f"--workers={workers}",
        f"--database={postgres_url}",
    ]  # fmt: skip

    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert ended.returncode == 1
    assert f"Error: 127.0.0.1:{http_port} cannot be listened on: it is taken" in ended.stderr
    assert ended.stderr.rstrip().endswith("Choose another with --http-listen.")
    assert ended.stdout == ""
