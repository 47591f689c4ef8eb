"""Rate cards in the database: set by one server, they are what all charge by; and what is counted adds up."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, update

from ledger import (
    AT_ONCE,
    DEFAULT_ASSET,
    DEFAULT_TENANT,
    Accepted,
    AssetPolicy,
    CardAction,
    Deduct,
    Discount,
    Ledger,
    Meter,
    RateCard,
    Reason,
    Refused,
    Rounding,
    Tier,
    Tiering,
    Usage,
    Welcome,
    Window,
    WriterOptions,
)
from ledger.database import Database
from ledger.tables import rate_cards
from tests.books import ACME, DAY, MICROSECOND, START, deducting, granting, opening, request_id, rows_of

BOOKS = (DEFAULT_TENANT, DEFAULT_ASSET)
CHAT = Usage(provider="openai", operation="chat", quantities={"token": 5})
IMAGE = Usage(provider="studio", operation="image")


def card(name, fixed=0, provider="openai", operation="chat", **terms):
    return RateCard(
        card=name,
        provider=provider,
        operations=(operation,),
        fixed=Decimal(fixed),
        **{"effective_at": AT_ONCE, "version": 0, **terms},
    )


def by_token(rate, **terms):
    meter = Meter(unit="token", rate=Decimal(rate), free=terms.pop("free", 0))
    return card("chat", meters=(meter,), period=Window.DAY if meter.free else None, **terms)


def using(usage, account=ACME, **terms):
    return Deduct(request_id=request_id(), account=account, usage=usage, **terms)


def charged(outcome):
    assert isinstance(outcome, Accepted), outcome
    return outcome.entry.charge.amount


@contextmanager
def server(url, clock):
    with Ledger(url, clock=clock, options=WriterOptions(linger_ms=0)) as ledger:
        yield ledger


@pytest.fixture
def two(postgres_url, clock):
    with server(postgres_url, clock) as one, server(postgres_url, clock) as other:
        one.execute_batch([opening(), granting(10**9)])
        yield one, other


def test_what_one_server_sets_the_other_charges_by_at_once(two, clock):
    one, other = two
    assert other.execute(using(CHAT)).reason is Reason.PRICE_NOT_FOUND

    one.apply_rate_cards(*BOOKS, [by_token(1)])
    first = charged(other.execute(using(CHAT)))
    clock.now += MICROSECOND
    one.apply_rate_cards(*BOOKS, [by_token(3)])
    second = charged(other.execute(using(CHAT)))
    clock.now += MICROSECOND
    one.apply_rate_cards(*BOOKS, [], retire_others=True)
    third = other.execute(using(CHAT))

    assert (first, second, third.reason) == (5, 15, Reason.PRICE_NOT_FOUND)


def test_what_one_server_says_of_the_default_card_the_other_does_at_once(two):
    one, other = two
    one.apply_rate_cards(*BOOKS, [card("rest", 7, "nobody"), by_token(1)])
    assert other.execute(using(IMAGE)).reason is Reason.PRICE_NOT_FOUND

    one.configure_asset(*BOOKS, AssetPolicy(default_card="rest"))

    assert charged(other.execute(using(IMAGE))) == 7


def test_what_one_server_has_counted_the_other_knows(two):
    one, other = two
    one.apply_rate_cards(*BOOKS, [by_token(1, free=12)])

    assert [charged(ledger.execute(using(CHAT))) for ledger in (one, other, one, other)] == [0, 0, 3, 5]
    assert one.check(ACME, usage=CHAT).charge.parts[0].before == 20


def test_of_two_servers_that_set_cards_which_clash_at_the_same_moment_one_is_refused(two):
    one, other = two
    for turn in range(5):
        operation = f"op-{turn}"
        asked = [
            (one, [card(f"one-{turn}", 1, operation=operation)]),
            (other, [card(f"two-{turn}", 1, operation=operation)]),
        ]

        with ThreadPoolExecutor(2) as threads:
            outcomes = list(threads.map(lambda of: of[0].apply_rate_cards(*BOOKS, of[1]), asked))

        assert Counter(isinstance(outcome, Refused) for outcome in outcomes) == {True: 1, False: 1}
        assert next(one.reason for one in outcomes if isinstance(one, Refused)) is Reason.RATE_CARDS_CLASH
    assert len(one.rate_cards(*BOOKS)) == 5


def test_of_two_servers_that_do_what_they_were_shown_at_the_same_moment_one_is_refused(two):
    for turn in range(5):
        names = (f"one-{turn}", f"two-{turn}")
        asked = [(ledger, [card(name, 1, operation=name)]) for ledger, name in zip(two, names, strict=True)]
        revision = two[0].apply_rate_cards(*BOOKS, asked[0][1], preview=True).revision

        with ThreadPoolExecutor(2) as threads:
            outcomes = list(threads.map(lambda of: of[0].apply_rate_cards(*BOOKS, of[1], revision=revision), asked))  # noqa: B023

        (refused,) = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        assert refused.reason is Reason.CHANGED_MEANWHILE
    assert len(two[0].rate_cards(*BOOKS)) == 5


def test_two_servers_that_set_cards_over_and_over_get_all_of_them_done(two):
    cards = [[card(f"c-{server}-{turn}", 1, operation=f"o-{server}-{turn}") for turn in range(20)] for server in (0, 1)]

    def set_all(ledger, cards):
        return [ledger.apply_rate_cards(*BOOKS, [one]).changes[0].action for one in cards]

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(set_all, two, cards))

    assert outcomes == [[CardAction.CREATED] * 20] * 2
    assert len(two[0].rate_cards(*BOOKS)) == 40


def test_a_bundle_is_the_same_whatever_the_order_of_what_it_bundles(ledger):
    ledger.execute_batch([opening(), granting(100)])
    ledger.apply_rate_cards(*BOOKS, [replace(card("all", 8), operations=("chat", "image", "search"))])
    first = using(replace(CHAT, quantities={}, bundled=("search", "image")))
    done = ledger.execute(first)

    again = ledger.execute(replace(first, usage=replace(first.usage, bundled=("image", "search"))))

    assert (charged(done), again.entry.seq, again.replayed) == (8, done.entry.seq, True)


@contextmanager
def unreadable(url, which):
    """Rows of rate cards that nobody can read as long as the block lasts."""
    database = Database(url, readers=1)
    rows = update(rate_cards).where(rate_cards.c.version == which)

    def spoil(old, new):
        with database.write() as connection:
            spoilt = connection.execute(rows.values(terms=func.replace(rate_cards.c.terms, old, new)))
            connection.commit()
        assert spoilt.rowcount > 0

    try:
        spoil("{", "<")
        yield
        spoil("<", "{")
    finally:
        database.close()


def test_versions_that_count_no_more_are_not_read(sqlite_url, clock):
    with server(sqlite_url, clock) as ledger:
        ledger.execute_batch([opening(), granting(100)])
        for rate in (1, 2):
            clock.now += DAY
            ledger.apply_rate_cards(*BOOKS, [by_token(rate), card("image", rate, "studio", "image")])

    with unreadable(sqlite_url, 1), server(sqlite_url, clock) as ledger:
        cost = ledger.quote(*BOOKS, CHAT).amount
        clock.now += DAY
        (change,) = ledger.apply_rate_cards(*BOOKS, [by_token(3)]).changes

        assert (cost, charged(ledger.execute(using(CHAT))), change.before.version) == (10, 15, 2)
        assert [(one.card, one.version) for one in ledger.rate_cards(*BOOKS)] == [("chat", 3), ("image", 2)]


def test_a_change_of_one_card_does_not_make_the_others_be_read_again(sqlite_url, clock):
    with server(sqlite_url, clock) as ledger:
        ledger.execute_batch([opening(), granting(100)])
        ledger.apply_rate_cards(*BOOKS, [by_token(1)])
        first = charged(ledger.execute(using(CHAT)))
        with unreadable(sqlite_url, 1):
            ledger.apply_rate_cards(*BOOKS, [card("rest", 7, "nobody")])
            ledger.configure_asset(*BOOKS, AssetPolicy(default_card="rest"))

            costs = ledger.quote(*BOOKS, CHAT).amount, charged(ledger.execute(using(CHAT)))

        assert (first, *costs, charged(ledger.execute(using(IMAGE)))) == (5, 5, 5, 7)


def test_cards_are_set_all_or_none(ledger, database_url):
    ledger.apply_rate_cards(*BOOKS, [card("a", 1, operation="a"), card("b", 1, operation="b")])
    before = rows_of(database_url)

    refused = ledger.apply_rate_cards(*BOOKS, [card("c", 1, operation="c"), card("d", 1, operation="a")])

    assert refused.reason is Reason.RATE_CARDS_CLASH
    assert rows_of(database_url) == before


def test_a_preview_of_cards_tells_what_would_become_of_them_and_writes_nothing(ledger, clock, database_url):
    ledger.apply_rate_cards(*BOOKS, [card(name, 1, operation=name) for name in "abc"])
    before = rows_of(database_url)
    clock.now += MICROSECOND
    wanted = [card("b", 2, operation="b"), card("d", 1, operation="d"), card("a", 1, operation="a")]

    told = ledger.apply_rate_cards(*BOOKS, wanted, retire_others=True, preview=True)

    assert rows_of(database_url) == before
    assert [(change.after.card, change.action) for change in told.changes] == [
        ("b", CardAction.CHANGED),
        ("d", CardAction.CREATED),
        ("a", CardAction.UNCHANGED),
        ("c", CardAction.RETIRED),
    ]
    done = ledger.apply_rate_cards(*BOOKS, wanted, retire_others=True, revision=told.revision)
    assert (done.changes, done.revision) == (told.changes, told.revision + 1)
    assert [(one.card, one.version) for one in ledger.rate_cards(*BOOKS)] == [("a", 1), ("b", 2), ("d", 1)]
    all_versions = [("a", 1), ("b", 2), ("b", 1), ("c", 2), ("c", 1), ("d", 1)]
    assert [(one.card, one.version) for one in ledger.rate_cards(*BOOKS, all_versions=True)] == all_versions


def test_what_a_preview_showed_is_not_done_once_cards_were_set_meanwhile(ledger, database_url):
    wanted = [card("b", 2, operation="b")]
    told = ledger.apply_rate_cards(*BOOKS, wanted, retire_others=True, preview=True)
    ledger.apply_rate_cards(*BOOKS, [card("a", 1, operation="a")])
    before = rows_of(database_url)

    refused = [
        ledger.apply_rate_cards(*BOOKS, wanted, retire_others=True, preview=preview, revision=told.revision)
        for preview in (True, False)
    ]

    assert {one.reason for one in refused} == {Reason.CHANGED_MEANWHILE}
    assert rows_of(database_url) == before


def test_cards_that_are_as_they_are_to_be_are_answered_alike_whichever_revision_is_named(ledger):
    wanted = [card("a", 1, operation="a")]
    told = ledger.apply_rate_cards(*BOOKS, wanted, preview=True)
    done = ledger.apply_rate_cards(*BOOKS, wanted, revision=told.revision)

    again = ledger.apply_rate_cards(*BOOKS, wanted, revision=told.revision)

    assert (told.revision, done.revision, again.revision) == (0, 1, 1)
    assert [change.action for change in again.changes] == [CardAction.UNCHANGED]


def test_a_card_is_read_as_it_was_set(ledger):
    whole = RateCard(
        card="all",
        provider="open*",
        operations=("chat", "search"),
        dimensions={"model": "gpt-*", "tier": "fast"},
        fixed=Decimal("0.000000000000000001"),
        meters=(
            Meter(unit="a", rate=Decimal("1.50"), per=1000, step=10, minimum=5, free=3),
            Meter(
                unit="b",
                rate=None,
                tiers=(Tier(up_to=10, rate=Decimal(2)), Tier(up_to=None, rate=Decimal("0.5"))),
                tiering=Tiering.VOLUME,
            ),
        ),
        minimum=Decimal(3),
        rounding=Rounding.HALF_EVEN,
        period=Window.MONTH,
        discount=Discount(percent=Decimal("12.5"), since=START, until=START + DAY),
        description="für alle",
        effective_at=START + DAY,
        version=0,
    )

    (change,) = ledger.apply_rate_cards(*BOOKS, [whole]).changes

    assert ledger.rate_cards(*BOOKS, all_versions=True) == (change.after,) == (replace(whole, version=1),)


def test_a_price_that_is_kept_with_an_entry_is_read_as_it_was_charged(ledger):
    ledger.execute_batch([opening(), granting(100)])
    ledger.apply_rate_cards(*BOOKS, [by_token("0.3", free=2, discount=Discount(percent=Decimal("12.5")))])
    done = ledger.execute(using(replace(CHAT, dimensions={"b": "1", "a": '"'})))

    page = ledger.history(ACME)

    assert page.entries[0].charge == done.entry.charge
    assert page.entries[0].hash == done.entry.hash
    assert ledger.execute(replace(deducting(1), request_id=done.entry.request_id)).reason is Reason.REQUEST_ID_REUSED


def test_usage_of_an_account_that_it_would_open_is_quoted_as_it_would_be_charged(ledger):
    ledger.apply_rate_cards(*BOOKS, [by_token(2, free=1)])
    ledger.configure_asset(*BOOKS, AssetPolicy(auto_open=True, welcome=Welcome(amount=6)))

    told = ledger.check(ACME, usage=CHAT)

    assert (told.amount, told.allowed, told.available, told.shortfall) == (8, False, 6, 2)
    assert told.refusal.reason is Reason.INSUFFICIENT_CREDITS
    ledger.execute(granting(2))
    assert charged(ledger.execute(using(CHAT))) == 8


TIERS = ((7, 0), (17, 3), (32, 2))
steps = st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans()), max_size=12)
numbers = count(1)


def unit_by_unit(quantities):
    """What a day's calls cost: the first 7 are free, then 10 at 3, 15 at 2, and the rest at 1."""
    had = 0
    for quantity in quantities:
        rates = (next((rate for end, rate in TIERS if unit <= end), 1) for unit in range(had + 1, had + quantity + 1))
        yield sum(rates)
        had += quantity


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(steps)
def test_however_calls_are_cut_into_batches_and_days_they_are_charged_unit_by_unit(counting, clock, steps):
    clock.now = START
    account = replace(ACME, account_id=f"c-{next(numbers)}")
    counting.execute_batch([opening(account), granting(10**6, account)])
    days, batch, found = [[]], [], []

    def write():
        found.extend(charged(outcome) for outcome in counting.execute_batch(batch)) if batch else None
        batch.clear()

    for quantity, cuts, next_day in steps:
        if next_day:
            write()
            clock.now += timedelta(days=1)
            days.append([])
        days[-1].append(quantity)
        batch.append(using(replace(CHAT, quantities={"token": quantity}), account))
        if cuts:
            write()
    write()

    assert found == [cost for day in days for cost in unit_by_unit(day)]


@pytest.fixture
def counting(sqlite_url, clock):
    tiers = (Tier(up_to=10, rate=Decimal(3)), Tier(up_to=25, rate=Decimal(2)), Tier(up_to=None, rate=Decimal(1)))
    meter = Meter(unit="token", rate=None, free=7, tiers=tiers, tiering=Tiering.GRADUATED)
    with server(sqlite_url, clock) as ledger:
        ledger.apply_rate_cards(*BOOKS, [card("chat", meters=(meter,), period=Window.DAY)])
        yield ledger
