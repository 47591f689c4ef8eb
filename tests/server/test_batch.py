"""Several changes in one call: an outcome each, in order; or all or nothing."""

import pytest
from google.protobuf.duration_pb2 import Duration
from scrip.v1.credit_service_pb2 import BatchOperation, BatchRequest
from scrip.v1.types_pb2 import Memo

from tests.books import rows_of
from tests.server.asking import request


def one(rpc, **fields) -> BatchOperation:
    """A change of a batch; good as far as the fields do not say otherwise."""
    name = next(field.name for field in BatchOperation.DESCRIPTOR.fields if field.message_type.name == f"{rpc}Request")
    return BatchOperation(**{name: request(rpc, **fields)})


def shown(outcome) -> str:
    """The reason of an outcome that is an error, else the name of the change."""
    name = outcome.WhichOneof("outcome")
    return outcome.error.reason if name == "error" else name


@pytest.fixture
def acme(ask):
    """An account with 100 credits, and another without."""
    ask("OpenAccount")
    ask("OpenAccount", account_id="beta")
    ask("Grant", amount=100, request_id="grant")
    return ask


def available(ask, account_id="acme") -> int:
    return ask("GetBalance", account_id=account_id).balances[0].available


def test_each_change_has_its_outcome_in_order_and_sees_those_before_it(acme):
    outcomes = acme(
        "Batch",
        operations=[
            one("CheckAndDeduct", amount=60),
            one("CheckAndDeduct", amount=60),
            one("Grant", amount=30),
            one("CheckAndDeduct", amount=60),
            one("Transfer", amount=10),
            one("OpenAccount", account_id="new"),
            one("Grant", account_id="new", amount=5),
            one("Release", hold_id="hd_nonsense"),
            one("Hold", account_id="beta", amount=0),
        ],
    ).outcomes

    assert [shown(outcome) for outcome in outcomes] == [
        "check_and_deduct", "INSUFFICIENT_CREDITS", "grant", "check_and_deduct", "transfer", "open_account", "grant",
        "HOLD_NOT_FOUND", "INVALID_FIELD",
    ]  # fmt: skip
    assert outcomes[0].check_and_deduct.balance.available == 40
    assert outcomes[1].error.metadata["shortfall"] == "20"
    assert outcomes[7].error.metadata == {"hold_id": "hd_nonsense"}
    assert outcomes[8].error.metadata["field"] == "amount"
    assert (available(acme), available(acme, "beta"), available(acme, "new")) == (0, 10, 5)


def test_every_change_can_be_part_of_a_batch(acme):
    lot_id = acme("Grant", amount=10).lot_id
    holds = [acme("Hold", amount=2).hold_id for _ in range(2)]
    spent = acme("CheckAndDeduct", amount=3).entry_id
    of_hold = {"hold_id": holds[0]}
    asked = [
        one("OpenAccount", account_id="new"),
        one("Grant", account_id="new"),
        one("CheckAndDeduct", account_id="new", amount=5, mode="MODE_RECORD"),
        one("WriteOff", account_id="new", amount=1),
        one("Hold"),
        one("IncreaseHold", **of_hold),
        one("ExtendHold", **of_hold),
        one("Capture", **of_hold),
        one("Release", hold_id=holds[1]),
        one("Refund", entry_id=spent),
        one("Revoke", lot_id=lot_id),
        one("Adjust"),
        one("Transfer", to_account_id="new"),
        one("UpdateAccount", unlimited=False),
        one("FreezeAccount", account_id="beta"),
        one("UnfreezeAccount", account_id="beta"),
        one("MergeAccounts", account_id="new", into_account_id="beta"),
        one("OpenAccount", account_id="empty"),
        one("CloseAccount", account_id="empty"),
    ]

    outcomes = acme("Batch", operations=asked, atomic=True).outcomes

    assert [shown(outcome) for outcome in outcomes] == [operation.WhichOneof("operation") for operation in asked]
    assert {operation.WhichOneof("operation") for operation in asked} == set(BatchOperation.DESCRIPTOR.fields_by_name)


def test_a_repeated_batch_is_answered_alike_and_writes_nothing(acme, database_url):
    asked = [one("CheckAndDeduct", amount=60), one("Hold", amount=30), one("CheckAndDeduct", amount=20)]
    first = acme("Batch", operations=asked)
    before = rows_of(database_url)

    again = acme("Batch", operations=asked)

    assert rows_of(database_url) == before
    assert [shown(outcome) for outcome in again.outcomes] == ["check_and_deduct", "hold", "INSUFFICIENT_CREDITS"]
    assert again.outcomes[0].check_and_deduct.replayed
    assert again.outcomes[1].hold.hold_id == first.outcomes[1].hold.hold_id


def test_a_request_id_that_a_batch_uses_twice_is_a_repeat_or_refused(acme):
    twice = {"request_id": "twice"}

    outcomes = acme(
        "Batch", operations=[one("Grant", amount=1, **twice), one("Grant", amount=1, **twice), one("Hold", **twice)]
    ).outcomes

    assert [shown(outcome) for outcome in outcomes] == ["grant", "grant", "REQUEST_ID_REUSED"]
    assert [outcome.grant.replayed for outcome in outcomes[:2]] == [False, True]
    assert outcomes[0].grant.lot_id == outcomes[1].grant.lot_id
    assert available(acme) == 101


@pytest.mark.parametrize(
    ("culprit", "reason"),
    [
        (one("CheckAndDeduct", amount=1_000), "INSUFFICIENT_CREDITS"),
        (one("Grant", amount=1, request_id="grant"), "REQUEST_ID_REUSED"),
        (one("Release", hold_id="hd_nonsense"), "HOLD_NOT_FOUND"),
        (one("Transfer", to_account_id="frozen", account_id="frozen2"), "ACCOUNT_FROZEN"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_atomic_batch_is_refused_as_a_whole_with_the_place_of_the_culprit(acme, database_url, culprit, reason):
    for account_id in ("frozen", "frozen2"):
        acme("OpenAccount", account_id=account_id)
        acme("FreezeAccount", account_id=account_id)
    good = [one("CheckAndDeduct", amount=60), one("Grant", account_id="beta"), one("OpenAccount", account_id="new")]
    before = rows_of(database_url)

    told = acme.refusal(
        "Batch", operations=[*good, culprit, one("CheckAndDeduct", amount=2_000), one("Hold")], atomic=True
    )

    assert (told.reason, told.metadata["operation"]) == (reason, "3")
    assert rows_of(database_url) == before


def test_an_atomic_batch_that_is_not_refused_is_done_as_a_whole(acme):
    outcomes = acme("Batch", operations=[one("Transfer", amount=10) for _ in range(10)], atomic=True).outcomes

    assert [shown(outcome) for outcome in outcomes] == ["transfer"] * 10
    assert (available(acme), available(acme, "beta")) == (0, 100)


def test_a_batch_has_1_to_1000_changes(sqlite_books):
    for operations in ([], [one("Grant")] * 1_001):
        for atomic in (False, True):
            told = sqlite_books.refusal("Batch", operations=operations, atomic=atomic)
            assert told.fields == ("operations",)


def test_a_batch_may_have_1000_changes(acme):
    operations = [one("CheckAndDeduct") for _ in range(1_000)]

    outcomes = acme("Batch", operations=operations).outcomes

    assert [shown(outcome) for outcome in outcomes] == ["check_and_deduct"] * 100 + ["INSUFFICIENT_CREDITS"] * 900


MALFORMED = {
    "amount": one("CheckAndDeduct", amount=-1),
    "request_id": one("Grant", request_id=""),
    "operation": BatchOperation(),
    "preview": one("Grant", preview=True),
    "ttl": one("ExtendHold", hold_id="hd_nonsense", ttl=Duration(seconds=-1)),
    "hold_id": one("Capture", hold_id=""),
    "memo.actor": one("Adjust", memo=Memo(description="why")),
}


@pytest.mark.parametrize(("field", "malformed"), MALFORMED.items(), ids=MALFORMED)
def test_what_is_malformed_is_told_in_its_outcome_and_does_not_stop_the_others(ask_sqlite, field, malformed):
    ask_sqlite("OpenAccount")

    before, error, after = ask_sqlite("Batch", operations=[one("Grant"), malformed, one("Grant")]).outcomes

    assert (shown(before), shown(error), shown(after)) == ("grant", "INVALID_FIELD", "grant")
    assert (error.error.code, error.error.metadata["field"]) == (3, field)
    assert [violation.field for violation in error.error.violations] == [field]
    assert available(ask_sqlite) == 2


@pytest.mark.parametrize(("field", "malformed"), MALFORMED.items(), ids=MALFORMED)
def test_what_is_malformed_ends_an_atomic_batch_and_names_its_place(sqlite_books, field, malformed):
    told = sqlite_books.refusal(
        "Batch", operations=[one("Grant"), malformed, one("Hold", amount=1_000), one("Hold", amount=0)], atomic=True
    )

    assert told.reason == "INVALID_FIELD"
    assert told.fields == (f"operations[1].{field}", "operations[3].amount")


def test_a_batch_of_nothing_that_is_well_formed_is_answered(sqlite_books):
    outcomes = sqlite_books.ask("Batch", operations=[one("Grant", amount=0)] * 3).outcomes

    assert [shown(outcome) for outcome in outcomes] == ["INVALID_FIELD"] * 3


@pytest.mark.parametrize("atomic", [False, True])
def test_a_preview_of_a_batch_answers_what_the_batch_does_and_writes_nothing(acme, database_url, atomic):
    operations = [one("CheckAndDeduct", amount=60), one("Grant", amount=5), one("Hold", amount=45)]
    if not atomic:
        operations += [one("Hold", amount=1), one("Grant", amount=0), one("Release", hold_id="hd_nonsense")]
    before = rows_of(database_url)

    previewed = acme("Batch", operations=operations, atomic=atomic, preview=True).outcomes
    assert rows_of(database_url) == before
    done = acme("Batch", operations=operations, atomic=atomic).outcomes

    assert [shown(outcome) for outcome in previewed] == [shown(outcome) for outcome in done]
    assert [outcome.hold.balance for outcome in previewed] == [outcome.hold.balance for outcome in done]
    assert (previewed[2].hold.hold_id, previewed[2].hold.entry_id) == ("", "")
    assert previewed[3:] == done[3:]


def test_a_preview_of_an_atomic_batch_is_refused_as_the_batch_would_be(sqlite_books):
    operations = [one("CheckAndDeduct", amount=30), one("CheckAndDeduct", amount=30)]

    for preview in (True, False):
        told = sqlite_books.refusal("Batch", operations=operations, atomic=True, preview=preview)

        assert (told.reason, told.metadata["operation"], told.metadata["available"]) == (
            "INSUFFICIENT_CREDITS",
            "1",
            "10",
        )


def test_a_batch_of_the_largest_size_is_not_too_large_to_answer(ask_sqlite):
    ask_sqlite("OpenAccount")
    far_from_right = one("Grant", amount=-1, account_id="ä" * 200, asset="C" * 200)

    outcomes = ask_sqlite("Batch", operations=BatchRequest(operations=[far_from_right] * 1_000).operations).outcomes

    assert len(outcomes) == 1_000
