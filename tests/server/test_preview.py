"""A preview answers what the change would be answered, but for the ids of what it would make, and writes nothing."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

from tests.books import rows_of
from tests.server.asking import CHANGES

MADE_IDS = {"entryId", "lotId", "lotIds", "welcomeLotId", "holdId", "toEntryId", "intoEntryId"}


@pytest.fixture
def world(ask):
    """Accounts to which every change can be made, and the fields that each change needs."""
    for account_id in ("acme", "beta", "frozen", "empty"):
        ask("OpenAccount", account_id=account_id)
    ask("FreezeAccount", account_id="frozen")
    ask("CheckAndDeduct", account_id="beta", amount=5, mode="MODE_RECORD")
    lot_id = ask("Grant", amount=100, ttl=Duration(seconds=60)).lot_id
    hold_id = ask("Hold", amount=20, tolerance=5).hold_id
    entry_id = ask("CheckAndDeduct", amount=10).entry_id
    return ask, {
        "OpenAccount": {"account_id": "new"},
        "UnfreezeAccount": {"account_id": "frozen"},
        "CloseAccount": {"account_id": "empty"},
        "MergeAccounts": {"account_id": "beta", "into_account_id": "acme"},
        "WriteOff": {"account_id": "beta"},
        "UpdateAccount": {"overdraft_limit": 7},
        "IncreaseHold": {"hold_id": hold_id},
        "ExtendHold": {"hold_id": hold_id, "ttl": Duration(seconds=3_600)},
        "Capture": {"hold_id": hold_id, "amount": 23},
        "Release": {"hold_id": hold_id},
        "Refund": {"entry_id": entry_id},
        "Revoke": {"lot_id": lot_id},
    }


def without_ids(answer) -> dict:
    return {name: value for name, value in MessageToDict(answer).items() if name not in MADE_IDS}


@pytest.mark.parametrize("rpc", CHANGES)
def test_a_preview_answers_what_the_change_is_answered_and_writes_nothing(database_url, world, rpc):
    ask, needed = world
    fields = {"request_id": "asked", **needed.get(rpc, {})}
    before = rows_of(database_url)

    previewed = ask(rpc, preview=True, **fields)
    assert rows_of(database_url) == before
    done = ask(rpc, **fields)

    assert not MADE_IDS & MessageToDict(previewed).keys()
    assert without_ids(previewed) == without_ids(done)
    assert (previewed.replayed, done.replayed) == (False, False)
    after = rows_of(database_url)
    assert after != before
    # A preview of a repeat is answered as the repeat is, with all ids.
    assert ask(rpc, preview=True, **fields) == ask(rpc, **fields)
    assert rows_of(database_url) == after


def test_a_preview_is_refused_as_the_change_would_be(sqlite_books):
    for preview in (True, False):
        told = sqlite_books.refusal("CheckAndDeduct", amount=41, preview=preview)
        assert (told.reason, told.metadata["shortfall"]) == ("INSUFFICIENT_CREDITS", "1")
        assert sqlite_books.refusal("Release", hold_id="hd_nonsense", preview=preview).reason == "HOLD_NOT_FOUND"
        assert sqlite_books.refusal("Grant", amount=0, preview=preview).fields == ("amount",)
        assert sqlite_books.refusal("OpenAccount", preview=preview).reason == "ACCOUNT_EXISTS"


def test_a_preview_settles_what_has_run_out_and_does_not_write_even_that(ask, database_url, clock):
    ask("OpenAccount")
    ask("Grant", amount=10, ttl=Duration(seconds=1))
    clock.now += 2 * (clock.now.resolution * 1_000_000)
    before = rows_of(database_url)

    told = ask.refusal("CheckAndDeduct", preview=True)
    granted = ask("Grant", amount=5, preview=True)

    assert told.metadata["available"] == "0"
    assert granted.balance.available == 5
    assert rows_of(database_url) == before
