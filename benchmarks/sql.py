"""The reference `sql`: a deduction posted by a function in PostgreSQL, one per transaction, driven by pgbench.

It writes into the same tables what a deduction writes there: an entry, a line, the account and the lot, the hash of the
entry included. It knows no refusals but one, no repeats, no lapses, no limits and no totals, and burns the first lot
that has something. No row is written to by all.
"""

import hashlib
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import Column, Dialect, Table

from benchmarks import books
from benchmarks.bulk import Pattern, processor
from benchmarks.rounds import Sample
from benchmarks.targets import Usage
from ledger import AccountName, parse_url
from ledger.ids import AccountKey
from ledger.tables import entries, lines
from tests.postgres import PACKAGED, find_binaries

CLIENTS: Final = 32
THREADS: Final = 2
FUNCTION: Final = """
CREATE FUNCTION deduct(wanted uuid, asked_as text, taken bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    account accounts%ROWTYPE;
    burnt lots%ROWTYPE;
BEGIN
    UPDATE accounts
        SET available = available - taken, seq = seq + 1, head = sha256(head || convert_to(asked_as, 'UTF8'))
        WHERE account_key = wanted AND available >= taken RETURNING * INTO account;
    IF NOT FOUND THEN
        RAISE 'not enough credits';
    END IF;
    UPDATE lots SET remaining = remaining - taken, spent = spent + taken
        WHERE account_key = wanted AND lot = (
            SELECT min(lot) FROM lots WHERE account_key = wanted AND remaining >= taken
        ) RETURNING * INTO burnt;
    {entry};
    {line};
    RETURN account.seq;
END $$
"""
# What differs from deduction to deduction; all else is as in one that the ledger has made.
OWN: Final = {
    "account_key": "wanted",
    "seq": "account.seq",
    "available": "account.available",
    "request_id": "asked_as",
    "hash": "account.head",
    "amount": "taken",
    "lot": "burnt.lot",
    "lot_remaining": "burnt.remaining",
    "lot_spent": "burnt.spent",
}
SCRIPT: Final = r"""
\set number random(0, {last})
\set request random(1000000000000000, 9000000000000000)
SELECT deduct(md5(:number::text)::uuid, :request::text, 1)
"""


class PgbenchFailedError(Exception):
    """pgbench did not do what it should; the text is its own."""


class Sql:
    """Books in a database of their own, with the function that deducts from them.

    accounts   how many accounts the deductions are spread over
    """

    def __init__(self, database_url: str, accounts: int, pgbench: Path) -> None:
        self._url = database_url
        self._accounts = accounts
        self._pgbench = pgbench
        self.taken = 0

    def fill(self) -> None:
        # Under keys that the script can make of a number.
        books.fill(self._url, self._accounts, key_of=_key)
        pattern = Pattern.of(1)
        with psycopg.connect(self._url) as connection:
            written = {
                name: _insert(parse_url(self._url).get_dialect()(), table, pattern.rows[table][-1])
                for name, table in (("entry", entries), ("line", lines))
            }
            connection.execute(FUNCTION.format(**{name: text.as_string(connection) for name, text in written.items()}))

    def measure(self, *, warmup_s: float, measured_s: float) -> Sample:
        """The time to connect is not counted; as statements are prepared at once, there is nothing else to warm up."""
        before = Usage.of(self._url, None)
        calls, per_s, load_s = self._run(max(round(warmup_s + measured_s), 2))
        after = Usage.of(self._url, None)
        self.taken += calls
        return Sample(per_s=per_s, load_us=load_s / calls * 1e6, **after.since(before, calls))

    def spent(self) -> int:
        """How many credits the function has taken."""
        with psycopg.connect(self._url) as connection:
            (spent,) = connection.execute("SELECT sum(spent) FROM lots").fetchone()
        return int(spent)

    def written(self) -> tuple[int, ...]:
        """How many entries there are, and how many lines."""
        with psycopg.connect(self._url) as connection:
            return connection.execute("SELECT (SELECT count(*) FROM entries), (SELECT count(*) FROM lines)").fetchone()

    def _run(self, seconds: int) -> tuple[int, float, float]:
        """How many were done, how many per second, and the CPU time of pgbench."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql", prefix="scrip-sql-") as script:
            script.write(SCRIPT.format(last=self._accounts - 1))
            script.flush()
            flags = ("-n", "-M", "prepared", "-c", str(CLIENTS), "-j", str(THREADS), "-T", str(seconds))
            command = [self._pgbench, *flags, "-f", script.name, self._url]
            began = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        calls = re.search(r"transactions actually processed: ([1-9]\d*)", done.stdout)
        per_s = re.search(r"tps = ([\d.]+)", done.stdout)
        if done.returncode != 0 or calls is None or per_s is None:
            raise PgbenchFailedError(done.stdout + done.stderr)
        load_s = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
        return int(calls[1]), float(per_s[1]), load_s


def find_pgbench() -> Path | None:
    """Beside the server's binaries, else wherever there is one; any version will do. The wheel has none."""
    beside = find_binaries().directory / "pgbench"
    found = shutil.which("pgbench")
    places = (beside, Path(found or beside), *sorted(PACKAGED.glob("*/bin/pgbench"), reverse=True))
    return next((place for place in places if place.exists()), None)


def _key(name: AccountName) -> AccountKey:
    number = int(name.account_id.rpartition("-")[2])
    return AccountKey(hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest())


def _insert(dialect: Dialect, table: Table, row: Mapping[str, Any]) -> sql.Composed:
    """What writes one row, of what is handed to the function and of what is always the same."""
    columns = [column for column in table.columns if column.name in OWN or row[column.name] is not None]
    values = [
        sql.SQL(OWN[column.name]) if column.name in OWN else _literal(dialect, column, row[column.name])
        for column in columns
    ]
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table.name),
        sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
        sql.SQL(", ").join(values),
    )


def _literal(dialect: Dialect, column: Column[Any], value: object) -> sql.Literal:
    process = processor(column, dialect)
    return sql.Literal(value if process is None else process(value))
