"""What an operation costs, in counts that no machine changes: statements, rows, bytes handed over, calls of functions.

These are limits, a little above what was counted when they were set. Who has to raise one should know why.
"""

import threading
from collections import Counter
from decimal import Decimal
from itertools import count

import pytest
from sqlalchemy import Engine, event

from ledger import (
    AT_ONCE,
    BATCH_MAX,
    Accepted,
    Deduct,
    Grant,
    Ledger,
    Meter,
    OpenAccount,
    PlaceHold,
    RateCard,
    Source,
    Usage,
    WriterOptions,
)
from tests.books import rows_of
from tests.faults.customers import customers
from tests.faults.statements import around_prepared

MANY = 500
NAMES = customers(MANY)


@pytest.fixture
def ledger(database_url):
    with Ledger(database_url, options=WriterOptions(linger_ms=0)) as ledger:
        ledger.execute_batch([OpenAccount(request_id="open", account=name) for name in NAMES])
        ledger.execute_batch(
            [Grant(request_id="grant", account=name, amount=10**9, source=Source.PURCHASE) for name in NAMES]
        )
        # Whoever writes for the first time takes a writer id, and makes its rows of the totals.
        deduct(ledger, 1)
        yield ledger


numbers = count(1)


def deduct(ledger, operations, names=NAMES):
    asked = [
        Deduct(request_id=f"r-{next(numbers):09}", account=names[n % len(names)], amount=1) for n in range(operations)
    ]
    assert all(isinstance(outcome, Accepted) for outcome in ledger.execute_batch(asked))


def set_prices(ledger):
    meters = tuple(Meter(unit=unit, rate=Decimal(1), per=1000) for unit in ("input", "cached", "output"))
    card = RateCard(
        card="gpt-5", provider="openai", operations=("chat",), meters=meters, effective_at=AT_ONCE, version=0
    )
    ledger.apply_rate_cards("default", "credits", [card])


def use(ledger, operations, names=NAMES):
    usage = Usage(provider="openai", operation="chat", quantities={"input": 1832, "cached": 200, "output": 412})
    asked = [
        Deduct(request_id=f"r-{next(numbers):09}", account=names[n % len(names)], usage=usage)
        for n in range(operations)
    ]
    assert all(isinstance(outcome, Accepted) for outcome in ledger.execute_batch(asked))


class Statements:
    """What is sent to a database."""

    def __init__(self):
        self.texts = []
        self.values = {}

    def note(self, text, parameters):
        self.texts.append(text)
        # Several statements are given the same ones, of which each takes its own.
        self.values |= {id(value): value for value in parameters.values()}

    @property
    def bytes(self):
        return sum(len(value) for value in self.values.values())


@pytest.fixture
def sent():
    sent = Statements()

    def prepared(run, statement, connection, parameters):
        sent.note(statement.text, parameters)
        return run(statement, connection, parameters)

    def other(_connection, _cursor, statement, *_):
        sent.note(statement, {})

    event.listen(Engine, "before_cursor_execute", other)
    with around_prepared(prepared):
        yield sent
    event.remove(Engine, "before_cursor_execute", other)


# On SQLite: BEGIN, one that reads, and one for each table that is written; on PostgreSQL one that reads and one that
# writes. None depends on how many operations share the batch.
@pytest.mark.parametrize("operations", [1, MANY, BATCH_MAX])
def test_a_batch_takes_so_many_statements(ledger, sent, operations):
    deduct(ledger, operations)

    assert len(sent.texts) <= (8 if str(ledger).startswith("sqlite") else 2), sent.texts


def test_usage_takes_no_more_statements_once_its_prices_are_known(ledger, sent):
    set_prices(ledger)
    use(ledger, 1)
    sent.texts.clear()

    use(ledger, MANY)

    assert len(sent.texts) <= (8 if str(ledger).startswith("sqlite") else 2), sent.texts


def test_a_batch_of_all_that_a_gateway_does_takes_a_few_statements_more(ledger, sent):
    held = ledger.execute_batch(
        [PlaceHold(request_id=f"h-{n}", account=name, amount=5) for n, name in enumerate(NAMES)]
    )

    assert all(isinstance(outcome, Accepted) for outcome in held)
    assert len(sent.texts) <= (10 if str(ledger).startswith("sqlite") else 2), sent.texts


def test_a_deduction_hands_over_so_many_bytes(ledger, sent):
    deduct(ledger, MANY)

    assert sent.bytes / MANY <= 1_100


def test_usage_hands_over_so_many_bytes(ledger, sent):
    set_prices(ledger)
    use(ledger, 1)
    sent.values.clear()

    use(ledger, MANY)

    assert sent.bytes / MANY <= 1_300


def test_a_deduction_from_one_lot_writes_an_entry_and_a_line_and_changes_an_account_and_a_lot(ledger, database_url):
    before = rows_of(database_url)

    deduct(ledger, MANY)

    after = rows_of(database_url)
    changed = {table: (after[table] - before[table]).total() for table in after}
    assert {table: rows / MANY for table, rows in changed.items() if rows >= MANY} == {
        "entries": 1,
        "lines": 1,
        "accounts": 1,
        "lots": 1,
    }
    # The writer's totals and its claim, however many operations there are.
    assert sum(rows for rows in changed.values() if rows < MANY) <= 3


@pytest.fixture
def calls():
    """Counts calls of functions in threads that begin from now on, by what they are written in."""
    calls = Counter()
    threading.setprofile(lambda _frame, what, _argument: calls.update([what]))
    yield calls
    threading.setprofile(None)


def test_a_deduction_takes_so_many_calls_of_functions_in_the_writer(calls, ledger):
    # The statements of a batch that is like the one before are made once.
    deduct(ledger, 1)
    calls.clear()

    deduct(ledger, MANY)

    # Those that are written in Python, and those of the interpreter.
    assert calls["call"] / MANY <= 117
    assert calls["c_call"] / MANY <= 78


def test_usage_takes_few_calls_of_functions_more_than_an_amount_in_the_writer(calls, ledger):
    set_prices(ledger)
    use(ledger, 1)
    calls.clear()
    deduct(ledger, MANY)
    by_amount = calls.copy()
    calls.clear()

    use(ledger, MANY)

    more = calls - by_amount
    assert more["call"] / MANY <= 20
    assert more["c_call"] / MANY <= 27
