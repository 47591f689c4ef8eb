"""Lists of entries have what their filters ask for, all of it and in order, whatever the size of the pages."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ledger.history
import ledger.present
from ledger import EntryKind, MalformedError, Memo, Reason
from ledger.history import HistoryFilter
from tests.books import ACME, DAY, MICROSECOND, START, deducting, granting, holding, opening
from tests.stories import moments, tell


@pytest.fixture
def looks_at_few(monkeypatch):
    """A page looks at five entries at most that no index tells it."""
    monkeypatch.setattr(ledger.history, "LOOKED_AT_MAX", 5)


def every_page(ledger, name, size, wanted):
    token = ""
    while True:
        page = ledger.history(name, size, token, wanted)
        yield page.entries
        token = page.next_page_token
        if not token:
            return


def listed(ledger, name, size, wanted):
    return [entry for entries in every_page(ledger, name, size, wanted) for entry in entries]


def is_wanted(entry, wanted):
    return all(
        (
            not wanted.kinds or entry.kind in wanted.kinds,
            wanted.since is None or entry.effective_at >= wanted.since,
            wanted.until is None or entry.effective_at < wanted.until,
            wanted.operation in {"", entry.operation},
            wanted.reference in {"", entry.memo.reference},
            wanted.lot is None or wanted.lot in [line.lot for line in entry.lines],
            wanted.hold in {None, entry.hold},
        )
    )


@st.composite
def filters(draw, entries, now):
    """Asks for what some of the entries have."""
    one = draw(st.sampled_from(entries))
    instants = moments(entries, now)
    since, until = (draw(st.none() | st.none() | st.sampled_from(instants)) for _ in range(2))
    lots = [line.lot for line in one.lines if line.lot is not None]
    return HistoryFilter(
        kinds=draw(st.just(frozenset()) | st.frozensets(st.sampled_from(sorted({entry.kind for entry in entries})))),
        since=since,
        until=until,
        operation=draw(st.sampled_from(["", "", one.operation])),
        lot=draw(st.none() | st.sampled_from(lots)) if lots else None,
        hold=draw(st.none() | st.just(one.hold)),
        oldest_first=draw(st.booleans()),
        without_lines=draw(st.integers(0, 3)) == 3,
    )


def test_pages_of_any_size_and_filter_make_up_what_is_wanted_of_the_whole(ledger, clock, looks_at_few):
    found = 0

    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def of_any_filter(data):
        nonlocal found
        story = tell(data, ledger, clock, length=30)
        name = story.names[0]
        entries = listed(ledger, name, 500, HistoryFilter(oldest_first=True))
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        for _ in range(8):
            wanted, size = data.draw(filters(entries, clock.now)), data.draw(st.integers(1, 6))
            expected = [entry for entry in entries if is_wanted(entry, wanted)]
            if wanted.without_lines:
                expected = [replace(entry, lines=()) for entry in expected]
            assert listed(ledger, name, size, wanted) == (expected if wanted.oldest_first else expected[::-1])
            found += len(expected)

    of_any_filter()
    assert found > 200


@pytest.fixture
def busy(ledger, clock):
    """Twelve deductions, of which some have a reference, and a lapse that is not written."""
    ledger.execute(opening())
    ledger.execute(granting(1000))
    ledger.execute(granting(5, expires_at=START + 2 * DAY, priority=500))
    for number in range(12):
        memo = Memo(reference=f"order-{number % 3}")
        ledger.execute(replace(deducting(1), memo=memo, operation="image/generate" if number % 2 else "text/write"))
    ledger.execute(holding(5))
    clock.now = START + 3 * DAY
    return ledger


def numbers(ledger, **wanted):
    return [entry.seq for entry in ledger.history(ACME, 500, wanted=HistoryFilter(**wanted)).entries]


def test_entries_are_found_by_their_reference(busy):
    assert numbers(busy, reference="order-1") == [14, 11, 8, 5]
    assert numbers(busy, reference="order-1", oldest_first=True) == [5, 8, 11, 14]
    assert numbers(busy, reference="order") == []


def test_entries_are_found_by_their_operation(busy):
    assert numbers(busy, operation="image/generate") == [15, 13, 11, 9, 7, 5]
    assert numbers(busy, operation="image/generate", reference="order-1") == [11, 5]


def test_lapses_that_are_not_written_are_found_like_others(busy):
    lapses = frozenset({EntryKind.HOLD_LAPSE, EntryKind.LOT_LAPSE})

    assert numbers(busy, kinds=lapses) == [18, 17]
    assert numbers(busy, hold=16) == [17, 16]
    assert numbers(busy, lot=2) == [18, 3]
    assert numbers(busy, since=START + 2 * DAY) == [18]


def test_a_stretch_of_time_has_its_beginning_and_not_its_end(busy):
    lapsed_at = busy.history(ACME, wanted=HistoryFilter(hold=16)).entries[0].effective_at

    assert numbers(busy, since=lapsed_at, until=START + 2 * DAY) == [17]
    assert numbers(busy, since=lapsed_at + MICROSECOND, until=START + 2 * DAY) == []
    assert numbers(busy, since=START, until=START + MICROSECOND) == list(range(16, 0, -1))
    assert numbers(busy, until=START) == []
    assert numbers(busy, since=START + DAY, until=START) == []


def test_a_list_without_lines_is_the_same_but_for_them(busy):
    whole = busy.history(ACME, 500).entries

    short = busy.history(ACME, 500, wanted=HistoryFilter(without_lines=True)).entries

    assert short == tuple(replace(entry, lines=()) for entry in whole)


def test_where_much_has_to_be_passed_over_a_page_ends_early_but_not_the_list(busy, looks_at_few):
    wanted = HistoryFilter(kinds=frozenset({EntryKind.OPEN, EntryKind.GRANT}))

    pages = [[entry.seq for entry in entries] for entries in every_page(busy, ACME, 10, wanted)]

    assert pages == [[], [], [3, 2], [1]]


@pytest.mark.parametrize(
    "other",
    [
        {"kinds": frozenset({EntryKind.DEDUCT})},
        {"since": START},
        {"until": START + DAY},
        {"reference": "order-1"},
        {"operation": "image/generate"},
        {"lot": 1},
        {"hold": 16},
        {"oldest_first": True},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_page_token_is_good_for_the_same_filter_only(busy, other):
    token = busy.history(ACME, 2).next_page_token

    outcome = busy.history(ACME, 2, token, HistoryFilter(**other))

    assert outcome.reason is Reason.INVALID_PAGE_TOKEN


def test_a_page_token_of_another_list_is_refused(busy):
    token = busy.history(ACME, 2).next_page_token

    assert busy.lots(ACME, page_token=token).reason is Reason.INVALID_PAGE_TOKEN
    assert busy.holds(ACME, page_token=token).reason is Reason.INVALID_PAGE_TOKEN


@pytest.mark.parametrize(
    "malformed",
    [
        {"since": START.replace(tzinfo=None)},
        {"until": START.replace(year=9500)},
        {"reference": "a\0b"},
        {"reference": "x" * 201},
        {"operation": "no such operation"},
        {"lot": 0},
        {"hold": -1},
    ],
    ids=str,
)
def test_a_malformed_filter_cannot_be_made(malformed):
    with pytest.raises(MalformedError):
        HistoryFilter(**malformed)
