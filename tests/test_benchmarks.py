"""The benchmark measures what it says: its books are real, its calls too, and it compares what belongs together."""

import json
import random
import re
from pathlib import Path

import pytest
from scrip import Client
from scrip.v1.credit_service_pb2 import CheckAndDeductRequest

from benchmarks import __main__ as bench
from benchmarks import books, callers, growth, lasting, report, trace
from benchmarks.bulk import GRANTED
from benchmarks.goals import GOALS
from benchmarks.plan import Plan
from benchmarks.rounds import Case, Measured, Middle, Sample, measured
from benchmarks.sql import Sql, find_pgbench
from benchmarks.targets import BooksWrongError, Databases, Target, serving
from ledger import DEFAULT_ASSET, DEFAULT_TENANT, Accepted, AccountName, Code, Deduct, EntryKind, Ledger
from server import load
from server.load.measuring import measure
from server.load.requests import Requests

SAMPLE = Path(__file__).parent.parent / "examples" / "llm_trace_sample.csv"
TINY = Plan(
    rounds=1,
    in_flight=(4,),
    accounts=5,
    warmup_s=0.1,
    measured_s=0.2,
    longest=70,
    sizes=(0, 200),
    operations=50,
    trace=SAMPLE,
)


def account(number):
    return AccountName(tenant=DEFAULT_TENANT, account_id=load.account_id(number), asset=DEFAULT_ASSET)


@pytest.fixture
def databases(tmp_path, postgres):
    return Databases(tmp_path, postgres)


@pytest.fixture
def quick(monkeypatch, capsys):
    """Runs `make bench QUICK=1` with these flags; returns what it printed."""

    def run(*flags):
        monkeypatch.setattr("sys.argv", ["benchmarks", *flags])
        monkeypatch.setenv("QUICK", "1")
        bench.main()
        return capsys.readouterr().out

    return run


def test_a_quick_bench_ends_with_one_line_of_json_that_begins_with_the_ratios(quick):
    printed = quick("--rounds=1", "--in-flight=4", "--accounts=20", "--seconds=0.2").splitlines()
    found = json.loads(printed[-1])

    assert list(found)[:4] == [
        "unary_postgres_over_echo", "unary_sqlite_over_echo", "batch_postgres_over_sql", "hot_over_spread",
    ]  # fmt: skip
    assert all(found[name] > 0 for name in list(found)[:4] if name != "batch_postgres_over_sql" or find_pgbench())
    rows = {row["case"]: row for row in found["parts"]["unary"]}
    ratio = rows["sqlite, 4 in flight"]["per_s"]["median"] / rows["echo, 4 in flight"]["per_s"]["median"]
    assert found["unary_sqlite_over_echo"] == pytest.approx(ratio, rel=0.01)


def test_a_round_in_two_goes_backwards_and_ratios_are_taken_within_a_round():
    order = []
    speeds = {"slow": iter([10.0, 30.0, 20.0]), "fast": iter([40.0, 60.0, 100.0])}

    def case(name):
        return Case(name=name, measure=lambda: order.append(name) or Sample(per_s=next(speeds[name])))

    found = measured([case("slow"), case("fast")], 3)

    assert order == ["slow", "fast", "fast", "slow", "slow", "fast"]
    assert found.middle("slow", "per_s") == Middle(median=20, least=10, most=30)
    assert found.ratio("slow", "fast", "per_s") == Middle(median=0.25, least=0.2, most=0.5)


def test_what_was_not_measured_has_no_figure_and_no_ratio():
    found = Measured(cases=(), rounds=[{"one": Sample(server_us=4, database_us=2), "other": Sample(server_us=3)}])

    assert found.middle("one", "per_s") is None
    assert found.middle("another", "server_us") is None
    assert found.ratio("one", "another", "server_us") is None
    assert found.ratio("one", "other", "per_s") is None
    assert found.ratio("one", "other", "server_us", "database_us") == Middle(median=2, least=2, most=2)


def test_a_goal_is_met_by_the_median_on_its_side_of_the_limit():
    by_name = {goal.figure: goal for goal in GOALS}
    reach, not_exceed = by_name["unary_postgres_over_echo"], by_name["lone_sqlite_p50_ms"]

    assert [reach.is_met(Middle(median=median, least=0, most=9)) for median in (0.49, 0.5)] == [False, True]
    assert [not_exceed.is_met(Middle(median=median, least=0, most=9)) for median in (1.5, 1.51)] == [True, False]
    shown = report.goals({"unary_postgres_over_echo": Middle(median=0.4, least=0.3, most=0.6), "other": None})
    assert re.search(r"0\.4 +0\.3-0\.6 +≥ 0\.5 +NOT MET", shown)
    assert len(shown.splitlines()) == 2


def test_a_table_leaves_out_columns_in_which_there_is_nothing():
    rows = [("", "per s", "to", "p50 ms"), ("one", "1,000", "", "-"), ("another", "5", "one", "-")]

    assert report.table(rows).splitlines() == [
        "         per s  to",
        "one      1,000",
        "another      5  one",
    ]


def test_books_written_in_bulk_are_those_that_the_ledger_would_have_written(database_url):
    books.fill(database_url, 12, deductions=23, longest=130)

    with Ledger(database_url) as ledger:
        pages = {number: ledger.history(account(number), 500).entries for number in (0, 1, 11)}
        again = ledger.execute(Deduct(request_id="bulk-000000000007", account=account(3), amount=1))
        more = ledger.execute(Deduct(request_id="another", account=account(3), amount=1))
        (asset,) = ledger.trial_balance(DEFAULT_TENANT).assets

    assert {number: len(entries) for number, entries in pages.items()} == {0: 132, 1: 25, 11: 25}
    assert [entry.kind for entry in pages[1]][-3:] == [EntryKind.DEDUCT, EntryKind.GRANT, EntryKind.OPEN]
    assert pages[1][0].available == GRANTED - 23
    assert isinstance(again, Accepted)
    assert again.replayed
    assert isinstance(more, Accepted)
    assert not more.replayed
    assert {row.code: row.credits for row in asset.rows}[Code.REVENUE] == 11 * 23 + 130 + 1
    assert books.spent(database_url) == 11 * 23 + 130 + 1


def test_books_that_do_not_agree_with_the_answers_end_the_benchmark(databases):
    with databases.new("sqlite") as url:
        target = Target("sqlite", url, 2, deductions=3)
        target.fill()

        with pytest.raises(BooksWrongError, match="1 credits were taken, 0 are in the books"), target.serve():
            target.taken += 1


def test_the_reference_in_sql_writes_an_entry_and_a_line_for_each_credit(databases):
    pgbench = find_pgbench()
    if pgbench is None:
        pytest.skip("there is no pgbench on this machine")
    with databases.new("postgres") as url:
        sql = Sql(url, 20, pgbench)
        sql.fill()

        sample = sql.measure(warmup_s=0, measured_s=1)

        assert sample.per_s > 0
        assert sample.per_transaction == pytest.approx(1, abs=0.1)
        assert sql.spent() == sql.taken
        assert sql.written() == (2 * 20 + sql.taken, 20 + sql.taken)


@pytest.mark.parametrize("way", callers.WAYS)
def test_callers_take_a_credit_with_each_operation(databases, way):
    with databases.new("sqlite") as url:
        target = Target("sqlite", url, 5, module=None if way == "single" else "server")
        target.fill()
        with target.serve():
            where = url if way == "single" else target.address
            sample = target.sample(
                lambda: callers.run(
                    callers.Callers(way=way, where=where, under_way=3, accounts=5, run=1, warmup_s=0.1, measured_s=0.3)
                )
            )

    # That the books agree has been seen when the block ended.
    assert target.taken > 0
    assert sample.per_s > 0
    assert way == "single" or sample.per_transaction >= 1


def test_only_what_is_done_between_two_ends_counts():
    clock = callers.Clock(
        callers.Callers(way="plain", where="", under_way=1, accounts=1, run=1, warmup_s=0, measured_s=10)
    )
    start = clock.begins

    clock.note(start - 2, start - 1, 1000)
    clock.note(start - 1, start + 1, 1000)
    clock.note(start + 1, start + 6, 1000)
    clock.note(start + 6, start + 11, 1000)
    clock.note(start + 6, start + 12, 1000)

    assert clock.is_over
    assert clock.all_operations == 5000
    assert clock.per_s == 200
    assert clock.took == pytest.approx([5, 5])


def test_growth_compares_the_largest_books_with_the_smallest(databases, monkeypatch):
    monkeypatch.setattr(growth, "ENGINES", ("sqlite",))
    monkeypatch.setattr(growth, "READS", 3)
    monkeypatch.setattr(growth, "STARTS", 1)

    found = growth.growth(databases, TINY)

    assert set(found.figures) > {"growth_sqlite_cost", "history_last_sqlite_p50_ms", "start_sqlite_ms"}
    assert all(figure.median > 0 for figure in found.figures.values())


def test_memory_and_disk_are_told_per_deduction(databases, monkeypatch):
    monkeypatch.setattr(lasting, "ENGINES", ("postgres",))

    found = lasting.lasting(databases, TINY)

    assert found.figures["memory_postgres_mb"].median > 10
    assert found.figures["disk_postgres_bytes"].median > 0
    assert found.figures["log_postgres_bytes"].median > 100


def test_a_trace_is_told_in_requests(databases, monkeypatch):
    monkeypatch.setattr(trace, "ENGINES", ("sqlite",))

    found = trace.trace(databases, TINY)

    assert found.figures["trace_sqlite_requests_per_s"].median > 0


def test_a_trace_that_is_not_there_is_left_out_and_said_so(databases, tmp_path):
    found = trace.trace(databases, Plan(trace=tmp_path / "none.csv"))

    assert found.figures == {}
    assert "none.csv" in found.notes[0]


def test_a_message_of_the_load_is_what_protobuf_makes():
    draw = random.Random(7).random
    requests = Requests(load.Load(run=7, accounts=1000))

    for number in range(3):
        expected = CheckAndDeductRequest(
            request_id=f"000007-{number + 1:09x}", account_id=load.account_id(int(draw() * 1000)), amount=1
        )
        assert requests.new() == expected.SerializeToString()


def test_a_load_on_running_books_deducts_once_per_call(sqlite_url):
    books.fill(sqlite_url, 3)

    with serving(sqlite_url) as (port, _):
        figures = measure(
            load.Load(address=f"127.0.0.1:{port}", in_flight=100, accounts=3, run=1, warmup_s=0.1, measured_s=0.3)
        )
        with Client(f"127.0.0.1:{port}") as client:
            left = [client.balance(load.account_id(number)).available for number in range(3)]

    assert figures.calls > 0
    assert sum(left) == 3 * GRANTED - figures.calls
    assert books.spent(sqlite_url) == figures.calls


def test_a_refused_call_fails_the_load(sqlite_url):
    books.fill(sqlite_url, 1)

    with serving(sqlite_url) as (port, _), pytest.raises(load.LoadFailedError, match="has no credits account"):
        load.run(load.Load(address=f"127.0.0.1:{port}", in_flight=1, accounts=2, run=1, warmup_s=0, measured_s=5))
