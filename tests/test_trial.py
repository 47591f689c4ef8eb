"""The trial balance of any past instant is what took effect up to it; checkpoints change nothing but the work."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from ledger import CHART, Code, Ledger
from ledger.database import CollisionError, Database
from ledger.history import HistoryFilter
from ledger.loading import Loader
from ledger.reports import Reports
from ledger.tables import checkpoints
from ledger.trial import LATE_MAX
from tests.books import ACME, DAY, MICROSECOND, START, deducting, granting, holding, opening
from tests.stories import moments, tell

HOUR = timedelta(hours=1)
BOLT = replace(ACME, account_id="bolt")


@pytest.fixture
def database(ledger, database_url):
    """The same database."""
    database = Database(database_url, readers=1)
    yield database
    database.close()


@pytest.fixture
def reads(database, clock):
    """Reads of the same database, and its checkpoints."""
    return Reports(database, Loader(database), clock)


def kept(database):
    """When checkpoints were made, with the number of their rows."""
    with database.read() as connection:
        instants = [row.at for row in connection.execute(select(checkpoints)) if row.tenant]
    return {instant: instants.count(instant) for instant in sorted(set(instants))}


def sums(reads, as_of=None, tenant=ACME.tenant, asset="credits"):
    (books,) = reads.trial_balance(tenant, asset, as_of).assets
    return {row.code: (row.debits, row.credits) for row in books.rows if row.debits or row.credits}


def folded(reads, names, at):
    found = {}
    for name in names:
        for entry in reads.history(name, 500, wanted=HistoryFilter(until=at + MICROSECOND)).entries:
            for line in entry.lines:
                debits, credits_ = found.get(line.debit, (0, 0))
                found[line.debit] = (debits + line.amount, credits_)
                debits, credits_ = found.get(line.credit, (0, 0))
                found[line.credit] = (debits, credits_ + line.amount)
    return found


def test_a_trial_balance_at_any_instant_is_the_fold_of_all_entries_up_to_it(ledger, reads, database, clock):
    told = 0

    @settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def at_any_instant(data):
        nonlocal told
        told += 1
        # An asset of its own and a day of its own, for what a checkpoint has passed cannot happen any more.
        asset, begins = f"asset-{told}", START + told * DAY
        ledger.define_asset(ACME.tenant, asset, 0)
        story = tell(data, ledger, clock, length=25, asset=asset, begins=begins, after_each=reads.make_checkpoints)
        instants = sorted({instant for name in story.names for instant in moments(every(reads, name), clock.now)})
        for at in data.draw(st.lists(st.sampled_from(instants), min_size=1, max_size=8, unique=True)):
            assert sums(reads, at, asset=asset) == folded(reads, story.names, at)
        assert sums(reads, asset=asset) == folded(reads, story.names, clock.now)

    at_any_instant()
    assert len(kept(database)) > 10


def every(reads, name):
    return list(reads.history(name, 500, wanted=HistoryFilter(oldest_first=True)).entries)


@pytest.fixture
def busy(ledger, reads, clock):
    """Something in each of four hours, the last of which has passed; a lot ran out on the hour, a hold between two."""
    ledger.execute(opening())
    ledger.execute(opening(BOLT))
    ledger.execute(granting(100, expires_at=START + 2 * HOUR))
    ledger.execute(holding(30, ttl=1.5 * HOUR))
    clock.now = START + 0.5 * HOUR
    ledger.execute(deducting(10))
    clock.now = START + 3.5 * HOUR
    ledger.execute(granting(7, BOLT))
    clock.now = START + 4 * HOUR + LATE_MAX
    return reads


EXPECTED = {
    0 * HOUR: {Code.PROMOTIONS: (100, 0), Code.AVAILABLE: (30, 100), Code.HELD: (0, 30)},
    1 * HOUR: {Code.PROMOTIONS: (100, 0), Code.AVAILABLE: (40, 100), Code.HELD: (0, 30), Code.REVENUE: (0, 10)},
    2 * HOUR - MICROSECOND: {
        Code.PROMOTIONS: (100, 0),
        Code.AVAILABLE: (40, 130),
        Code.HELD: (30, 30),
        Code.REVENUE: (0, 10),
    },
    2 * HOUR: {
        Code.PROMOTIONS: (100, 0),
        Code.AVAILABLE: (130, 130),
        Code.HELD: (30, 30),
        Code.REVENUE: (0, 10),
        Code.BREAKAGE: (0, 90),
    },
    4 * HOUR: {
        Code.PROMOTIONS: (107, 0),
        Code.AVAILABLE: (130, 137),
        Code.HELD: (30, 30),
        Code.REVENUE: (0, 10),
        Code.BREAKAGE: (0, 90),
    },
}


@pytest.mark.parametrize("passed", EXPECTED, ids=str)
def test_a_past_trial_balance_has_what_lapsed_by_then_written_or_not_with_checkpoints_or_without(
    ledger, busy, database, clock, passed
):
    unwritten = sums(busy, START + passed)
    made = busy.make_checkpoints()
    with_checkpoint = sums(busy, START + passed)
    ledger.sweep()
    clock.now += 9 * HOUR
    Reports(database, Loader(database), clock).make_checkpoints()

    assert made
    assert [unwritten, with_checkpoint, sums(busy, START + passed)] == [EXPECTED[passed]] * 3


def test_every_code_has_its_row_in_a_past_trial_balance_too(busy):
    (books,) = busy.trial_balance(ACME.tenant, None, START).assets

    assert [row.code for row in books.rows] == list(CHART)
    assert busy.trial_balance(ACME.tenant, None, START - MICROSECOND).assets == ()
    assert busy.trial_balance(ACME.tenant, None, START).as_of == START


def test_checkpoints_are_of_full_hours_that_are_safely_past_and_at_most_one_an_hour(busy, database, clock):
    clock.now = START + 4 * HOUR + LATE_MAX - MICROSECOND
    assert busy.make_checkpoints()
    clock.now += MICROSECOND
    assert busy.make_checkpoints()
    clock.now += 0.5 * HOUR
    assert not busy.make_checkpoints()

    assert list(kept(database)) == [START + 3 * HOUR, START + 4 * HOUR]


def test_no_checkpoint_is_made_where_nothing_has_happened_since_the_last(ledger, busy, database, clock):
    other = replace(ACME, tenant="other")
    ledger.execute(opening(other))
    busy.make_checkpoints()
    clock.now += 10 * HOUR
    assert not busy.make_checkpoints()
    ledger.execute(granting(5, other))
    clock.now += 10 * HOUR
    assert busy.make_checkpoints()

    with database.read() as connection:
        made = {(row.tenant, row.at) for row in connection.execute(select(checkpoints)) if row.tenant}
    assert made == {(ACME.tenant, START + 4 * HOUR), ("other", START + 24 * HOUR)}
    assert sums(busy, clock.now) == EXPECTED[4 * HOUR]


def test_of_two_servers_that_make_the_same_checkpoint_one_does(busy, database, clock, monkeypatch):
    other = Reports(database, Loader(database), clock)
    assert busy.make_checkpoints()

    assert not other.make_checkpoints()
    # As if both had looked before either wrote.
    monkeypatch.setattr("ledger.trial._made_at", lambda *_: None)
    assert not Reports(database, Loader(database), clock).make_checkpoints()
    assert len(kept(database)) == 1


def test_a_collision_is_what_the_second_of_them_meets(busy, database):
    busy.make_checkpoints()
    with database.read() as connection:
        row = connection.execute(select(checkpoints)).first()._asdict()

    with pytest.raises(CollisionError), database.write() as connection:
        connection.execute(checkpoints.insert(), [row])


def test_where_the_clock_has_stepped_back_behind_a_checkpoint_it_is_made_again(ledger, busy, database, clock):
    assert busy.make_checkpoints()
    clock.now = START + 1.2 * HOUR
    other = replace(ACME, account_id="other")
    ledger.execute(opening(other))
    ledger.execute(granting(3, other))
    clock.now = START + 1.3 * HOUR

    assert not busy.make_checkpoints()
    assert kept(database) == {}
    clock.now = START + 5 * HOUR
    assert busy.make_checkpoints()

    assert list(kept(database)) == [START + 4 * HOUR]
    assert sums(busy, START + 4 * HOUR) == {**EXPECTED[4 * HOUR], Code.PROMOTIONS: (110, 0), Code.AVAILABLE: (130, 140)}


def test_sums_of_the_past_beyond_64_bits_are_exact(ledger, reads, clock):
    most = 2**63 - 1
    names = [replace(ACME, account_id=f"customer-{number}") for number in range(4)]
    for name in names:
        ledger.execute(opening(name))
        ledger.execute(granting(most, name))
    clock.now = START + HOUR + LATE_MAX

    before = sums(reads, START)
    reads.make_checkpoints()

    assert before == sums(reads, START + HOUR) == {Code.PROMOTIONS: (4 * most, 0), Code.AVAILABLE: (0, 4 * most)}


def test_tenants_do_not_see_each_others_sums(busy, clock):
    busy.make_checkpoints()

    assert sums(busy, clock.now, tenant="other") == {}


def test_what_two_writers_wrote_is_in_the_past_of_both(postgres_url, clock):
    with Ledger(postgres_url, clock=clock) as one, Ledger(postgres_url, clock=clock) as other:
        one.execute(opening())
        other.execute(opening(BOLT))
        one.execute(granting(100))
        other.execute(granting(40, BOLT))
        clock.now = START + DAY
        other.execute(deducting(30))
        database = Database(postgres_url, readers=1)
        reads = Reports(database, Loader(database), clock)

        then, now = sums(reads, START), sums(reads, START + DAY)

        database.close()
    assert then == {Code.PROMOTIONS: (140, 0), Code.AVAILABLE: (0, 140)}
    assert now == {Code.PROMOTIONS: (140, 0), Code.AVAILABLE: (30, 140), Code.REVENUE: (0, 30)}
