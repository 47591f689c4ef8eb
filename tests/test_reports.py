"""Reads: pages, single entries, balances, trial balances and the audit's answer; each tenant sees its own."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import (
    CHART,
    AccountName,
    Capture,
    Code,
    EntryKind,
    IdPrefix,
    Ledger,
    MalformedError,
    Memo,
    Money,
    Reason,
    Source,
    public_id,
)
from tests.books import ACME, DAY, START, deducting, granting, holding, opening, request_id

BOLT = replace(ACME, account_id="bolt")
ELSEWHERE = replace(ACME, tenant="elsewhere")


@pytest.fixture
def busy(ledger, clock):
    """Acme with nine written entries and two lapses that are not."""
    for operation in (
        opening(),
        granting(100, expires_at=START + DAY),
        granting(50, source=Source.PURCHASE, cost=Money(minor_units=500, currency="EUR")),
        holding(60),
        deducting(10),
        Capture(request_id=request_id(), tenant=ACME.tenant, key=ACME.key, hold=4, amount=20),
        holding(5),
        deducting(1),
        granting(7, effective_at=START + 2 * DAY, memo=Memo(reference="order-7", metadata={"channel": "web"})),
    ):
        ledger.execute(operation)
    clock.now = START + DAY
    return ledger


def pages(ledger, size, account=ACME):
    token = ""
    while True:
        page = ledger.history(account, size, token)
        yield page.entries
        token = page.next_page_token
        if not token:
            return


def test_pages_of_any_size_make_up_the_same_history(busy):
    whole = busy.history(ACME, 500).entries

    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(1, 13))
    def of_size(size):
        found = list(pages(busy, size))
        assert [entry for page in found for entry in page] == list(whole)
        assert all(len(page) == size for page in found[:-1])
        assert 1 <= len(found[-1]) <= size

    of_size()
    assert [entry.seq for entry in whole] == list(range(11, 0, -1))
    assert [entry.recorded_at is None for entry in whole] == [True] * 2 + [False] * 9


def test_a_page_is_of_fifty_entries_unless_another_size_is_asked_for_and_of_five_hundred_at_most(ledger):
    ledger.execute(opening())
    for answer in [ledger.queue(granting(1)) for _ in range(501)]:
        answer.result()

    sizes = [len(ledger.history(ACME, size).entries) for size in (0, 1, 500, 501, 100_000)]

    assert sizes == [50, 1, 500, 500, 500]


def test_what_is_written_while_somebody_pages_does_not_disturb_the_pages_that_follow(busy):
    first = busy.history(ACME, 4)
    before = busy.history(ACME, 500).entries

    busy.execute(granting(1))
    second = busy.history(ACME, 500, first.next_page_token)

    assert [entry.seq for entry in second.entries] == [entry.seq for entry in before[4:]]


@pytest.mark.parametrize("other", [BOLT, ELSEWHERE, replace(ACME, asset="tokens")], ids=str)
def test_a_page_token_of_another_account_is_refused(busy, other):
    busy.define_asset(ACME.tenant, "tokens", 0)
    busy.execute(opening(other))
    token = busy.history(ACME, 1).next_page_token

    outcome = busy.history(other, 1, token)

    assert outcome.reason is Reason.INVALID_PAGE_TOKEN


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "pt_",
        "pt_aaaa",
        public_id(IdPrefix.ENTRY, ACME.key, 3),
        public_id(IdPrefix.PAGE, ACME.key, 3),
    ],
)
def test_a_page_token_that_was_made_up_is_refused(busy, token):
    assert busy.history(ACME, 1, token).reason is Reason.INVALID_PAGE_TOKEN


def test_a_page_token_is_good_with_another_page_size(busy):
    token = busy.history(ACME, 2).next_page_token

    assert [entry.seq for entry in busy.history(ACME, 3, token).entries] == [9, 8, 7]


def test_every_entry_is_found_by_its_id_as_history_shows_it(busy):
    for entry in busy.history(ACME).entries:
        found = busy.entry(ACME.tenant, public_id(IdPrefix.ENTRY, ACME.key, entry.seq))

        assert found.entry == entry
        assert (found.name, found.scale) == (ACME, 0)


def test_an_entry_is_read_as_it_was_written(ledger):
    ledger.execute(opening())
    operation = granting(
        100,
        source=Source.SUBSCRIPTION,
        priority=7,
        effective_at=START - DAY,
        expires_at=START + DAY,
        cost=Money(minor_units=990, currency="EUR"),
        memo=Memo(description="für dich", reference="o-7", actor="ann", metadata={"b": "2", "a": "1"}),
    )
    written = ledger.execute(operation).entry

    read = ledger.entry(ACME.tenant, public_id(IdPrefix.ENTRY, ACME.key, 2)).entry

    assert read == written


@pytest.mark.parametrize(
    "entry_id",
    ["", "en_", "nonsense", public_id(IdPrefix.LOT, ACME.key, 2), public_id(IdPrefix.ENTRY, ACME.key, 12)],
)
def test_an_id_that_names_no_entry_finds_none(busy, entry_id):
    outcome = busy.entry(ACME.tenant, entry_id)

    assert (outcome.reason, outcome.figures) == (Reason.ENTRY_NOT_FOUND, {"entry_id": entry_id})


def test_a_tenant_finds_nothing_of_another(busy):
    entry_id = public_id(IdPrefix.ENTRY, ACME.key, 2)

    assert busy.entry(ELSEWHERE.tenant, entry_id).reason is Reason.ENTRY_NOT_FOUND
    assert busy.history(ELSEWHERE).reason is Reason.ACCOUNT_NOT_FOUND
    assert busy.balances(ELSEWHERE.tenant, "acme").reason is Reason.ACCOUNT_NOT_FOUND
    assert busy.trial_balance(ELSEWHERE.tenant).assets == ()
    assert busy.audit(ELSEWHERE.tenant).entries == 0
    assert [asset.asset for asset in busy.assets(ELSEWHERE.tenant)] == ["credits"]


def test_two_tenants_may_have_a_customer_of_the_same_name_and_the_same_request_ids(ledger):
    for account, amount in ((ACME, 100), (ELSEWHERE, 7)):
        ledger.execute(replace(opening(account), request_id="r-open"))
        ledger.execute(replace(granting(amount, account), request_id="r-grant"))

    available = [ledger.balances(account.tenant, "acme").balances[0].available for account in (ACME, ELSEWHERE)]

    assert available == [100, 7]


def test_balances_are_told_for_all_assets_in_order_of_their_names(ledger):
    for asset, scale in (("tokens", 6), ("calling", 2)):
        ledger.define_asset(ACME.tenant, asset, scale)
        ledger.execute(opening(replace(ACME, asset=asset)))
    ledger.execute(opening())
    ledger.execute(granting(5, replace(ACME, asset="tokens")))

    found = ledger.balances(ACME.tenant, "acme")

    assert [(b.name.asset, b.scale, b.available) for b in found.balances] == [
        ("calling", 2, 0),
        ("credits", 0, 0),
        ("tokens", 6, 5),
    ]
    assert found.as_of == START


def test_an_account_that_nobody_can_have_is_malformed_when_read_too(ledger):
    with pytest.raises(MalformedError):
        ledger.balances(ACME.tenant, "")
    with pytest.raises(MalformedError):
        ledger.history(AccountName(tenant=ACME.tenant, account_id="acme", asset="No such asset"))


def test_a_trial_balance_has_a_row_for_every_code_of_the_chart_in_its_order(busy):
    (books,) = busy.trial_balance(ACME.tenant).assets

    assert [row.code for row in books.rows] == list(CHART)
    assert sum(row.balance for row in books.rows) == 0


def test_a_trial_balance_of_an_asset_without_entries_is_all_zero(ledger):
    ledger.define_asset(ACME.tenant, "tokens", 6)

    (books,) = ledger.trial_balance(ACME.tenant, "tokens").assets

    assert (books.asset.asset, books.asset.scale) == ("tokens", 6)
    assert {(row.debits, row.credits) for row in books.rows} == {(0, 0)}
    assert ledger.trial_balance(ACME.tenant).assets == ()


def test_a_trial_balance_of_an_asset_that_is_not_defined_is_refused(ledger):
    assert ledger.trial_balance(ACME.tenant, "tokens").reason is Reason.ASSET_NOT_FOUND


def test_the_trial_balance_is_the_sum_of_what_all_writers_wrote(postgres_url, clock):
    with Ledger(postgres_url, clock=clock) as one, Ledger(postgres_url, clock=clock) as other:
        one.execute(opening())
        other.execute(opening(BOLT))
        one.execute(granting(100))
        other.execute(granting(40, BOLT))
        other.execute(deducting(30))

        (books,) = one.trial_balance(ACME.tenant).assets
        findings = other.audit(ACME.tenant).findings

    sums = {row.code: (row.debits, row.credits) for row in books.rows}
    assert findings == ()
    assert sums[Code.AVAILABLE] == (30, 140)
    assert sums[Code.REVENUE] == (0, 30)


def test_sums_beyond_64_bits_are_exact(ledger):
    most = 2**63 - 1
    names = [replace(ACME, account_id=f"customer-{number}") for number in range(4)]
    for name in names:
        ledger.execute(opening(name))
        ledger.execute(granting(most, name))

    (books,) = ledger.trial_balance(ACME.tenant).assets

    assert next(row.credits for row in books.rows if row.code is Code.AVAILABLE) == 4 * most
    assert ledger.audit(ACME.tenant).findings == ()


def test_an_audit_counts_what_it_looked_at(busy):
    busy.define_asset(ACME.tenant, "tokens", 0)
    busy.execute(opening(BOLT))
    busy.execute(opening(replace(ACME, asset="tokens")))

    whole = busy.audit(ACME.tenant)
    of_acme = busy.audit(ACME.tenant, "acme")
    of_bolt = busy.audit(ACME.tenant, "bolt", "credits")
    of_tokens = busy.audit(ACME.tenant, asset="tokens")

    assert [(report.accounts, report.entries) for report in (whole, of_acme, of_bolt, of_tokens)] == [
        (3, 11),
        (2, 10),
        (1, 1),
        (1, 1),
    ]
    assert {report.findings_total for report in (whole, of_acme, of_bolt, of_tokens)} == {0}


def test_an_audit_of_what_is_not_there_is_refused(busy):
    assert busy.audit(ACME.tenant, "nobody").reason is Reason.ACCOUNT_NOT_FOUND
    assert busy.audit(ACME.tenant, "acme", "tokens").reason is Reason.ASSET_NOT_FOUND
    assert busy.audit(ACME.tenant, asset="tokens").reason is Reason.ASSET_NOT_FOUND


def test_history_of_an_account_that_is_only_opened_is_its_opening(ledger):
    ledger.execute(opening())

    page = ledger.history(ACME)

    assert [entry.kind for entry in page.entries] == [EntryKind.OPEN]
    assert page.next_page_token == ""
