"""The commands that change the books: what each does, and what it says of it in every format."""

import json

import pytest
from scrip.v1.accounts_pb2 import Account, SpendLimit
from scrip.v1.types_pb2 import SOURCE_PURCHASE, Memo

from tests.books import DAY
from tests.cli.saying import assert_says, json_of

BALANCE = {"account": "acme", "asset": "credits", "scale": 0, "available": 0, "held": 0, "owed": 0, "pending": 0}
NOT_IN_TABLES = {"scale", "lot_id", "lot_ids", "welcome_lot_id", "to_entry_id", "into_entry_id"}
WHY = ("--description", "why", "--actor", "ann")


@pytest.fixture
def acme(ask):
    """100 credits, of which 40 are used; the ids of the grant's lot and of the deduction."""
    ask("OpenAccount")
    granted = ask("Grant", amount=100, source=SOURCE_PURCHASE)
    deducted = ask("CheckAndDeduct", amount=40)
    return {"LOT": granted.lot_id, "ENTRY": deducted.entry_id}


# What is asked, and what is answered beyond the account's name.
CHANGES = {
    "adjust up": ("adjust acme up 5", {"lot_id": "+", "repaid": 0, "available": 65}),
    "adjust down": ("adjust acme down 5", {"lot_id": "", "repaid": 0, "available": 55}),
    "refund": ("refund ENTRY", {"refunded": 40, "lapsed": 0, "repaid": 0, "lot_ids": "", "available": 100}),
    "refund a part": (
        "refund ENTRY --amount 15",
        {"refunded": 15, "lapsed": 0, "repaid": 0, "lot_ids": "", "available": 75},
    ),
    "revoke": ("revoke LOT --spent owe", {"revoked": 100, "became_owed": 40, "owed": 40}),
    "revoke a part": ("revoke LOT --spent leave --amount 10", {"revoked": 10, "became_owed": 0, "available": 50}),
    "transfer": ("transfer acme beta 25", {"to_entry_id": "+", "available": 35}),
    "merge": ("merge acme beta", {"into_entry_id": "+", "moved": 60, "debt_moved": 0}),
    "freeze": ("freeze acme", {"available": 60}),
    "update-account": ("update-account acme --overdraft-limit 5", {"available": 60}),
}


@pytest.mark.parametrize(("command", "answered"), CHANGES.values(), ids=CHANGES)
def test_a_change_says_what_it_did_and_how_the_account_stands(scrip, ask, acme, command, answered):
    ask("OpenAccount", account_id="beta")
    words = [acme.get(word, word) for word in command.split()]
    asked = (*words, *WHY, "--reference", "R-1", "--request-id", "asked")

    (row,) = json_of(scrip(*asked, "--format", "json"))

    entry = ask("History").entries[0]
    ids = {name: row[name] for name, told in answered.items() if told == "+"}
    assert all(ids.values())
    assert row == {**BALANCE, **answered, **ids, "entry_id": entry.entry_id, "replayed": False}
    assert (entry.memo.description, entry.memo.actor, entry.memo.reference) == ("why", "ann", "R-1")
    assert_says(scrip, [{**row, "replayed": True}], *asked, not_in_tables=NOT_IN_TABLES)


def test_a_preview_says_the_same_and_writes_nothing(scrip, ask, acme):
    ask("OpenAccount", account_id="beta")
    for command, answered in CHANGES.values():
        words = [acme.get(word, word) for word in command.split()]

        (row,) = json_of(scrip(*words, *WHY, "--preview", "--format", "json"))

        made = {name: "" for name, told in answered.items() if told == "+"}
        assert row == {**BALANCE, **answered, **made, "entry_id": "", "replayed": False}
    assert len(ask("History").entries) == 3


def test_a_frozen_account_is_unfrozen(scrip, ask, acme):
    ask("FreezeAccount")

    (row,) = json_of(scrip("unfreeze", "acme", "--format", "json"))

    assert row["available"] == 60
    assert ask("GetAccount").account.status == Account.STATUS_OPEN


def test_an_empty_account_is_closed(scrip, ask):
    ask("OpenAccount")

    assert scrip("close", "acme").exit_code == 0

    assert ask("GetAccount").account.status == Account.STATUS_CLOSED


def test_a_debt_is_written_off(scrip, ask):
    ask("OpenAccount")
    ask("CheckAndDeduct", amount=30, mode="MODE_RECORD")

    (part,) = json_of(scrip("write-off", "acme", "--amount", "10", *WHY, "--format", "json"))
    (rest,) = json_of(scrip("write-off", "acme", *WHY, "--format", "json"))

    assert (part["written_off"], part["owed"]) == (10, 20)
    assert (rest["written_off"], rest["owed"]) == (20, 0)


@pytest.mark.parametrize(
    ("flags", "lapsed"),
    [
        ("", 40),
        ("--expired-lots to_original_lot", 40),
        ("--expired-lots extend --lot-ttl 3d", 0),
        ("--expired-lots new_lot --lot-ttl 3d", 0),
        ("--expired-lots new_lot", 0),
    ],
)
def test_a_refund_says_what_to_do_about_lots_that_have_run_out(scrip, ask, clock, flags, lapsed):
    ask("OpenAccount")
    ask("Grant", amount=40, ttl=DAY)
    deducted = ask("CheckAndDeduct", amount=40)
    clock.now += 2 * DAY

    (row,) = json_of(scrip("refund", deducted.entry_id, *flags.split(), "--format", "json"))

    assert (row["lapsed"], row["available"]) == (lapsed, 40 - lapsed)


def test_a_grant_may_be_for_some_operations_only(scrip, ask):
    ask("OpenAccount")

    scrip("grant", "acme", "5", "--source", "promo", "--scope", "image/*", "--scope", "chat")

    assert list(ask("ListLots").lots[0].scope) == ["image/*", "chat"]


def test_what_is_agreed_is_changed_field_by_field(scrip, ask):
    ask("OpenAccount")
    changes = (
        "--overdraft-limit 500 --unlimited",
        "--time-zone Europe/Berlin --metadata tier=gold --metadata note=a=b",
        "--limit daily:day:100 --limit images:15m:20:image/*",
        "--not-unlimited",
    )

    for flags in changes:
        assert scrip("update-account", "acme", *flags.split()).exit_code == 0

    account = ask("GetAccount").account
    assert (account.overdraft_limit, account.unlimited, account.time_zone) == (500, False, "Europe/Berlin")
    assert dict(account.metadata) == {"tier": "gold", "note": "a=b"}
    daily, images = account.limits
    assert (daily.name, daily.window, daily.amount, daily.operation) == ("daily", SpendLimit.WINDOW_DAY, 100, "")
    assert (images.name, images.window, images.amount) == ("images", SpendLimit.WINDOW_ROLLING, 20)
    assert (images.length.ToSeconds(), images.operation) == (900, "image/*")

    assert scrip("update-account", "acme", "--no-limits", "--no-metadata").exit_code == 0

    account = ask("GetAccount").account
    assert (list(account.limits), dict(account.metadata), account.overdraft_limit) == ([], {}, 500)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("freeze acme", "Missing option '--description'."),
        ("adjust acme up 5 --description why", "Missing option '--actor'."),
        ("adjust acme sideways 5", "'sideways' is not one of 'up', 'down'."),
        ("revoke lt_x", "Missing option '--spent'."),
        ("refund en_x --expired-lots burn", "'burn' is not one of 'to_original_lot', 'extend', 'new_lot'."),
        ("update-account acme --limit daily", "'daily' is not a limit such as daily:day:100"),
        ("update-account acme --limit a:day:x", "'a:day:x' is not a limit such as daily:day:100"),
        ("update-account acme --limit a:week:1", "'week' is not a length of time such as 90s, 15m, 12h or 30d."),
        ("update-account acme --metadata gold", "'gold' is not a key and its value, such as tier=gold."),
        ("update-account acme --limit a:day:1 --no-limits", "With --no-limits there can be none."),
        ("update-account acme --metadata a=b --no-metadata", "With --no-metadata there can be none."),
        ("configure-asset credits --welcome-ttl 3d", "name its amount, too."),
    ],
)
def test_a_wrong_command_line_is_told_what_would_be_right(run, command, error):
    result = run(*command.split())

    assert result.exit_code == 2
    assert error in result.stderr


def test_an_asset_is_configured_as_a_whole(scrip, ask):
    welcome = "--auto-open --welcome 25 --welcome-source promo --welcome-ttl 12h --free-credits-repay-debt"
    settings = {"auto_open": True, "welcome": 25, "welcome_source": "promo", "welcome_ttl": "12h"}
    row = {"asset": "credits", "scale": 0, **settings, "free_credits_repay_debt": True, "default_card": ""}
    off = {"auto_open": False, "welcome": None, "welcome_source": None, "welcome_ttl": None}

    assert_says(scrip, [row], "configure-asset", "credits", *welcome.split())
    assert_says(scrip, [row], "assets")
    assert_says(scrip, [{**row, **off, "free_credits_repay_debt": False}], "configure-asset", "credits")


def test_what_opens_by_itself_is_told_with_its_welcome(scrip, ask):
    scrip("configure-asset", "credits", "--auto-open", "--welcome", "25")

    (row,) = json_of(scrip("grant", "acme", "5", "--source", "promo", "--format", "json"))

    assert row["available"] == 30
    assert json.loads(scrip("history", "acme", "--format", "json").stdout)[1]["kind"] == "open"
    assert ask("GetAccount").account.balance.available == 30


def test_the_memo_of_a_transfer_is_on_both_sides(scrip, ask, acme):
    ask("OpenAccount", account_id="beta")

    scrip("transfer", "acme", "beta", "5", "--reference", "gift-7")

    memos = [ask("History", account_id=name).entries[0].memo for name in ("acme", "beta")]
    assert memos == [Memo(reference="gift-7")] * 2
