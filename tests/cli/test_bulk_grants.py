"""`scrip bulk-grant`: what it reads, what it says, and that nothing is granted twice or lost whatever happens."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
import scrip as client
from scrip.v1.types_pb2 import SOURCE_PROMO, SOURCE_PURCHASE

from server.commands.grants_file import GrantsFile, UnreadableError
from tests.books import audit_findings
from tests.cli.processes import PATIENCE_S, ran, running, serving
from tests.cli.saying import as_text, csv_of, json_of, table_of

TOTALS = re.compile(r"Rows: ([\d,]+)\. Granted: ([\d,]+)\. Granted before: ([\d,]+)\. Not granted: ([\d,]+)\.")


@pytest.fixture
def books(ask):
    """Open accounts of acme and beta."""
    for account_id in ("acme", "beta"):
        ask("OpenAccount", account_id=account_id)
    return ask


def written(text: str, name: str = "grants.csv") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def totals(text: str) -> tuple[int, ...]:
    """Rows, granted, granted before, not granted."""
    return tuple(int(number.replace(",", "")) for number in TOTALS.search(text).groups())


def test_every_row_is_a_grant_on_the_terms_it_says(scrip, books):
    file = written(
        "request_id,amount,account_id,source,cost,expires_at,priority,scope,package,description,reference,actor,ttl\n"
        'row-1,100,acme,purchase,1999 EUR,2027-01-01,7,image/* chat,starter,"hello, you",R-1,ann,\n'
        "row-2,5,beta,promo,,,,,,,,,30d\n"
    )

    said = scrip("bulk-grant", file)

    assert (said.exit_code, totals(said.stdout)) == (0, (2, 2, 0, 0)), said.output
    entry = books("History").entries[0]
    (lot,) = entry.lots
    assert (entry.request_id, lot.granted, lot.source, lot.priority) == ("row-1", 100, SOURCE_PURCHASE, 7)
    assert (lot.cost.minor_units, lot.cost.currency, list(lot.scope)) == (1999, "EUR", ["image/*", "chat"])
    assert lot.package == "starter"
    assert lot.expires_at.ToJsonString() == "2027-01-01T00:00:00Z"
    assert (entry.memo.description, entry.memo.reference, entry.memo.actor) == ("hello, you", "R-1", "ann")
    entry = books("History", account_id="beta").entries[0]
    assert (entry.request_id, entry.lots[0].granted, entry.lots[0].source) == ("row-2", 5, SOURCE_PROMO)
    assert entry.lots[0].expires_at.ToJsonString() == "2026-01-31T00:00:00Z"


def test_the_options_hold_for_rows_that_do_not_say_otherwise(scrip, books):
    file = written("account_id,amount,source,expires_at,reference\nacme,1,,,\nbeta,2,gift,2027-01-01,R-2\n")
    usual = ("--source", "promo", "--ttl", "1d", "--reference", "R-1", "--priority", "3", "--scope", "chat")

    assert scrip("bulk-grant", file, "--campaign", "spring", *usual).exit_code == 0

    entries = [books("History", account_id=name).entries[0] for name in ("acme", "beta")]
    assert [entry.request_id for entry in entries] == ["spring:acme", "spring:beta"]
    assert [entry.memo.reference for entry in entries] == ["R-1", "R-2"]
    lots = [entry.lots[0] for entry in entries]
    assert [lot.expires_at.ToJsonString()[:10] for lot in lots] == ["2026-01-02", "2027-01-01"]
    assert [lot.priority for lot in lots] == [3, 3]
    assert [list(lot.scope) for lot in lots] == [["chat"], ["chat"]]


def test_the_same_command_again_grants_nothing_twice(scrip, books):
    file = written("account_id,amount\nacme,1\nbeta,2\n")
    command = ("bulk-grant", file, "--campaign", "spring", "--source", "promo")

    said = [scrip(*command) for _ in range(2)]
    with_more = written("account_id,amount\nacme,1\nbeta,2\ngamma,3\n")
    books("OpenAccount", account_id="gamma")
    said.append(scrip("bulk-grant", with_more, *command[2:]))

    assert [totals(result.stdout) for result in said] == [(2, 2, 0, 0), (2, 0, 2, 0), (3, 1, 2, 0)]
    assert [books("GetBalance", account_id=name).balances[0].available for name in ("acme", "beta")] == [1, 2]


def test_rows_that_are_refused_are_told_with_their_lines_and_do_not_stop_the_others(scrip, books):
    file = written("account_id,amount\nacme,1\n\nnobody,7\nbeta,2\n")
    command = ("bulk-grant", file, "--campaign", "spring", "--source", "promo")
    refused = {"line": 4, "account_id": "nobody", "amount": 7, "request_id": "spring:nobody"}
    why = {
        "reason": "ACCOUNT_NOT_FOUND",
        "message": "Account nobody has no credits account. Open it with OpenAccount first.",
    }

    as_table, as_json, as_csv = (scrip(*command, "--format", form) for form in ("table", "json", "csv"))

    assert [result.exit_code for result in (as_table, as_json, as_csv)] == [1, 1, 1]
    summary, _, table = as_table.stdout.partition("\n")
    assert totals(summary) == (3, 2, 0, 1)
    assert table_of(table) == as_text([{**refused, **why}])
    assert json.loads(as_json.stdout) == [{**refused, **why}]
    assert csv_of(as_csv.stdout) == as_text([{**refused, **why}])
    assert totals(as_json.stderr) == totals(as_csv.stderr) == (3, 0, 2, 1)


def test_a_row_with_other_content_than_the_first_time_is_refused(scrip, books):
    command = ("--campaign", "spring", "--source", "promo", "--format", "json")
    scrip("bulk-grant", written("account_id,amount\nacme,1\n"), *command)

    said = scrip("bulk-grant", written("account_id,amount\nacme,2\n"), *command)

    (refused,) = json.loads(said.stdout)
    assert (refused["reason"], said.exit_code) == ("REQUEST_ID_REUSED", 1)
    assert books("GetBalance").balances[0].available == 1


def test_a_preview_tells_what_would_be_refused_and_writes_nothing(scrip, books):
    file = written("account_id,amount\nacme,1\nnobody,7\n")

    said = scrip("bulk-grant", file, "--campaign", "spring", "--source", "promo", "--preview")

    assert said.exit_code == 1
    assert said.stdout.startswith("Preview. ")
    assert totals(said.stdout) == (2, 1, 0, 1)
    assert books("GetBalance").balances[0].available == 0


def test_progress_is_told_on_standard_error(scrip, books):
    rows = "".join(f"acme,1,r-{number}\n" for number in range(40))

    said = scrip("bulk-grant", written(f"account_id,amount,request_id\n{rows}"), "--source", "promo")

    assert said.stderr.splitlines() == [f"{count} of 40 rows" for count in range(2, 41, 2)]


def test_a_file_of_a_spreadsheet_may_begin_with_a_mark_and_be_empty(scrip, books):
    Path("grants.csv").write_bytes(b"\xef\xbb\xbfaccount_id,amount\r\nacme,1\r\n")
    empty = written("account_id,amount\n", "empty.csv")

    for file, told in (("grants.csv", (1, 1, 0, 0)), (empty, (0, 0, 0, 0))):
        said = scrip("bulk-grant", file, "--campaign", "spring", "--source", "promo")
        assert (said.exit_code, totals(said.stdout)) == (0, told)
    assert json_of(scrip("bulk-grant", empty, "--campaign", "c", "--source", "promo", "--format", "json")) == []


MISTAKES = {
    "account_id,amount\nacme,0\n": "line 2, amount: must be 1 to 9223372036854775807; it is 0.",
    "account_id,amount\nacme,1.5\n": "line 2, amount: '1.5' is not a whole number.",
    "account_id,amount\nacme,1_0\n": "line 2, amount: '1_0' is not a whole number.",
    "account_id,amount\nacme,\n": "line 2, amount: is empty.",
    "account_id,amount\n,1\n": "line 2, account_id: is empty.",
    "account_id,amount\nä,1\n": "line 2, account_id: must be 1 to 128 printable ASCII characters; it has 'ä'.",
    "account_id,amount\nacme\n": "line 2 has 1 cells; the header has 2.",
    "account_id,amount\nacme,1,1\n": "line 2 has 3 cells; the header has 2.",
    "account_id,amount,source\nacme,1,theft\n": "line 2, source: 'theft' is not one of 'free', 'promo'",
    "account_id,amount,ttl\nacme,1,1w\n": "line 2, ttl: '1w' is not a length of time such as 90s, 15m, 12h or 30d.",
    "account_id,amount,expires_at\nacme,1,soon\n": "line 2, expires_at: 'soon' is not an instant such as",
    "account_id,amount,priority\nacme,1,1001\n": "line 2, priority: must be 0 to 1000; it is 1001.",
    "account_id,amount,cost\nacme,1,1999 EUR\n": "line 2, cost: must be absent for source promo",
    "account_id,amount,source,cost\nacme,1,gift,1 eur\n": "line 2, cost: must be an ISO 4217 code",
    "account_id,amount,scope\nacme,1,*x\n": "line 2, scope: must be at most 100 letters",
    "account_id,amount,expires_at,ttl\nacme,1,2027-01-01,1d\n": "line 2, ttl: must not be given together with",
    f"account_id,amount,description\nacme,1,{'x' * 501}\n": "line 2, description: must have at most 500 characters",
    f"account_id,amount\n{'x' * 125},1\n": "line 2, request_id: must be 1 to 128 printable ASCII characters; it has",
    "account_id,amount\nacme,1\nbeta,1\nacme,2\n": "line 4, request_id: 'spring:acme' is that of line 2",
    "account_id,amount\nacme,1\nbeta,x\nacme,y\n": "line 3, amount: 'x' is not a whole number.\nline 4, amount: 'y'",
    "account_id\nacme\n": "has no column amount in its first line; known are account_id, amount, source,",
    "account_id,amount,expires\nacme,1,\n": "has the column 'expires'; known are account_id, amount, source,",
    "account_id;amount\nacme;1\n": "has the column 'account_id;amount'; known are account_id, amount, source,",
    "account_id,amount,amount\nacme,1,1\n": "has the column amount twice.",
    "": "has no column account_id in its first line",
    'account_id,amount\n"acme,1\n': "is not CSV: line 2: unexpected end of data.",
}


@pytest.mark.parametrize(("text", "told"), MISTAKES.items(), ids=lambda text: text[-20:])
def test_what_is_malformed_is_told_with_line_and_column_and_nothing_is_sent(scrip, books, text, told):
    said = scrip("bulk-grant", written(text), "--campaign", "spring", "--source", "promo")

    assert said.exit_code == 2
    assert said.stdout == ""
    assert told in said.stderr
    assert "othing was sent" in said.stderr
    assert len(books("History").entries) == 1


def test_of_many_mistakes_the_first_are_told(scrip, books):
    said = scrip("bulk-grant", written("account_id,amount\n" + "acme,x\n" * 30), "--campaign", "c", "--source", "promo")

    assert said.stderr.count("is not a whole number") == 20
    assert said.stderr.endswith("… and 10 more\n")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--source", "promo"), "has no column request_id. Add it, or name a --campaign"),
        (("--campaign", "spring"), "has no column source. Add it, or say --source."),
    ],
)
def test_what_every_row_needs_is_said_in_the_file_or_as_an_option(run, flags, told):
    said = run("bulk-grant", written("account_id,amount\nacme,1\n"), *flags)

    assert said.exit_code == 2
    assert told in said.stderr


def test_a_file_that_is_not_there_or_not_text_is_an_error(run):
    Path("grants.csv").write_bytes(b"account_id,amount\n\xff\xfe,1\n")

    missing = run("bulk-grant", "missing.csv", "--campaign", "c", "--source", "promo")
    binary = run("bulk-grant", "grants.csv", "--campaign", "c", "--source", "promo")

    assert (missing.exit_code, binary.exit_code) == (2, 2)
    assert "'missing.csv' does not exist" in missing.stderr
    assert "grants.csv is not UTF-8" in binary.stderr


@pytest.mark.parametrize("now", ["acme,1\n", "acme,1\nbeta,2\ngamma,3\n", "acme,1\nbeta,x\n", "acme,1\nbeta\n"])
def test_a_file_that_is_not_as_it_was_checked_is_not_sent_to_its_end(now):
    file = Path(written("account_id,amount\nacme,1\nbeta,2\n"))
    grants = GrantsFile(path=file, campaign="spring", usual={"source": "promo", "asset": "credits"})
    assert grants.check() == (2, [])

    written(f"account_id,amount\n{now}")

    with pytest.raises(UnreadableError, match="has changed since it was checked"):
        list(grants.rows(2))


def test_a_pipe_which_cannot_be_read_twice_is_an_error(run):
    os.mkfifo("pipe")

    said = run("bulk-grant", "pipe", "--campaign", "c", "--source", "promo")

    assert said.exit_code == 2
    assert "pipe is not a file, which can be read twice. Nothing was sent." in said.stderr


ROWS = 2_000


@pytest.fixture
def big_file():
    return str(Path(written("account_id,amount\n" + "".join(f"a-{number},1\n" for number in range(ROWS)))).resolve())


def interrupted(server, file, how) -> str:
    """Begins to grant, and does something about it once a quarter is answered; returns what is said from then on."""
    with running("bulk-grant", file, "--server", server.target, "--campaign", "spring", "--source", "promo") as process:
        for line in process.stderr:
            if int(line.split()[0].replace(",", "")) >= ROWS // 4:
                break
        how(process)
        _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode != 0
    return said


def resumed(server, file) -> None:
    """Does it again: some was granted before, some was not, and in the end everybody has one grant."""
    done = ran("bulk-grant", file, "--server", server.target, "--campaign", "spring", "--source", "promo")
    rows, granted, before, not_granted = totals(done.stdout)
    assert (done.returncode, rows, not_granted) == (0, ROWS, 0)
    assert granted + before == ROWS
    assert granted > 0
    assert before >= ROWS // 4
    with client.Client(server.target) as asking:
        (books,) = asking.trial_balance().assets
    assert {row.debits for row in books.rows if row.code == client.Code.CODE_PROMOTIONS} == {str(ROWS)}


def stopped_with(said: str) -> str:
    """Why it stopped; the rest of the sentence is always the same."""
    assert "Traceback" not in said
    told = re.search(r"Error: (.*) Of 2,000 rows ([\d,]+) were answered\. Run the same command again: what was", said)
    assert ROWS // 4 <= int(told[2].replace(",", "")) < ROWS
    return told[1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_an_interrupted_command_is_resumed_by_the_same_command(database_url, big_file, number):
    # Small batches, so that there is time to interrupt it.
    with serving("--database", database_url, "--batch-max", "50") as server:
        with client.Client(server.target) as asking:
            asking.configure_asset("credits", auto_open=True)

        said = interrupted(server, big_file, lambda process: process.send_signal(number))

        if number == signal.SIGINT:
            assert stopped_with(said) == "Interrupted."
        resumed(server, big_file)
        server.stop()
    assert audit_findings(database_url) == []


def test_a_file_that_changes_meanwhile_is_told_and_resumed_once_it_is_right(sqlite_url, big_file):
    with serving("--database", sqlite_url, "--batch-max", "50") as server:
        with client.Client(server.target) as asking:
            asking.configure_asset("credits", auto_open=True)
        right = Path(big_file).read_text()

        said = interrupted(server, big_file, lambda _: Path(big_file).write_text("account_id,amount\n"))

        assert stopped_with(said) == f"{big_file} has changed since it was checked."
        Path(big_file).write_text(right)
        resumed(server, big_file)


def test_a_server_that_goes_away_is_told_with_what_to_do(sqlite_url, big_file):
    with serving("--database", sqlite_url, "--batch-max", "50") as server:
        with client.Client(server.target) as asking:
            asking.configure_asset("credits", auto_open=True)

        said = interrupted(server, big_file, lambda _: server.process.kill())

        assert stopped_with(said)

    with serving("--database", sqlite_url) as server:
        resumed(server, big_file)
        server.stop()
    assert audit_findings(sqlite_url) == []
