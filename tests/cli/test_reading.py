"""The commands that show how a customer stands and what became of their credits."""

import pytest
from google.protobuf.duration_pb2 import Duration
from scrip.v1.accounts_pb2 import SpendLimit, SpendLimits
from scrip.v1.types_pb2 import SOURCE_PURCHASE, Memo, Money

from tests.books import DAY
from tests.cli.saying import assert_says, json_of

BALANCE = {"account": "acme", "asset": "credits", "scale": 0, "available": 0, "held": 0, "owed": 0, "pending": 0}


def test_account(scrip, ask):
    ask("OpenAccount")
    ask("UpdateAccount", overdraft_limit=5, time_zone="Europe/Berlin", metadata={"pairs": {"tier": "gold"}})
    ask("FreezeAccount", memo=Memo(description="chargeback"))

    expected = {
        **BALANCE,
        "status": "frozen",
        "status_reason": "chargeback",
        "overdraft_limit": 5,
        "unlimited": False,
        "time_zone": "Europe/Berlin",
        "metadata": '{"tier": "gold"}',
        "opened_at": "2026-01-01T00:00:00Z",
    }
    assert_says(scrip, [expected], "account", "acme", not_in_tables={"scale", "metadata", "pending"})


def test_limits(scrip, ask):
    ask("OpenAccount")
    ask("Grant", amount=100)
    rolling = SpendLimit(name="images", window="WINDOW_ROLLING", length=Duration(seconds=90), amount=9, operation="i/*")
    limits = SpendLimits(limits=[SpendLimit(name="daily", window="WINDOW_DAY", amount=50), rolling])
    ask("UpdateAccount", limits=limits)
    ask("CheckAndDeduct", amount=30)

    daily = {"limit": "daily", "window": "day", "length": None, "operation": "", "amount": 50, "used": 30}
    images = {"limit": "images", "window": "rolling", "length": "90s", "operation": "i/*", "amount": 9, "used": 0}
    expected = [{**daily, "frees_at": "2026-01-02T00:00:00Z"}, {**images, "frees_at": None}]
    assert_says(scrip, expected, "limits", "acme")


def test_lots(scrip, ask):
    ask("OpenAccount")
    cost = Money(minor_units=900, currency="EUR")
    paid = ask("Grant", amount=100, source=SOURCE_PURCHASE, cost=cost, scope=["a", "b/*"], package="starter")
    free = ask("Grant", amount=10, ttl=DAY)
    ask("Hold", amount=4)
    ask("CheckAndDeduct", amount=6)

    lot = {"effective_at": "2026-01-01T00:00:00Z", "reclaimed": 0}
    first = {"lot_id": paid.lot_id, "source": "purchase", "priority": 60, "expires_at": None, "cost": "900 EUR"}
    first |= {"scope": "a b/*", "package": "starter", "granted": 100, "remaining": 100, "held": 0, "spent": 0}
    second = {"lot_id": free.lot_id, "source": "promo", "priority": 20, "expires_at": "2026-01-02T00:00:00Z"}
    second |= {"cost": None, "scope": "", "package": "", "granted": 10, "remaining": 0, "held": 4, "spent": 6}
    found = json_of(scrip("lots", "acme", "--format", "json"))
    expected = [{**one, **lot} for one in (first, second)]
    assert sorted(found, key=lambda row: row["priority"], reverse=True) == expected
    assert_says(scrip, found, "lots", "acme", not_in_tables={"effective_at", "cost", "package", "reclaimed"})


def test_lots_in_which_nothing_is_left_are_shown_if_all_are_asked_for(scrip, ask):
    ask("OpenAccount")
    ask("Grant", amount=10)
    ask("CheckAndDeduct", amount=10)

    assert json_of(scrip("lots", "acme", "--format", "json")) == []
    assert len(json_of(scrip("lots", "acme", "--all", "--format", "json"))) == 1


def test_holds(scrip, ask):
    ask("OpenAccount")
    ask("Grant", amount=100)
    first = ask("Hold", amount=30, operation="chat", tolerance=5, held_lots="HELD_LOTS_LAPSE")
    ask("Capture", hold_id=first.hold_id, amount=20)
    second = ask("Hold", amount=7)

    hold = {"placed_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T00:15:00Z"}
    newest = {"hold_id": second.hold_id, "state": "open", "operation": "", "amount": 7, "held": 7, "captured": 0}
    newest |= {"tolerance": 0, "held_lots": "honour", "ended_at": None}
    oldest = {"hold_id": first.hold_id, "state": "captured", "operation": "chat", "amount": 30, "held": 0}
    oldest |= {"captured": 20, "tolerance": 5, "held_lots": "lapse", "ended_at": "2026-01-01T00:00:00Z"}
    expected = [{**one, **hold} for one in (newest, oldest)]
    not_in_tables = {"tolerance", "held_lots", "placed_at", "ended_at", "amount"}
    assert_says(scrip, expected, "holds", "acme", not_in_tables=not_in_tables)
    assert_says(scrip, expected[1:], "holds", "acme", "--state", "captured", not_in_tables=not_in_tables)


@pytest.mark.parametrize("command", ["lots", "holds"])
def test_lists_are_as_long_as_asked_for(scrip, ask, command):
    ask("OpenAccount")
    for call in [ask.later("Grant", amount=2) for _ in range(60)]:
        call.result()
    for call in [ask.later("Hold", amount=1) for _ in range(60)]:
        call.result()

    lengths = [
        len(json_of(scrip(command, "acme", *limit, "--format", "json")))
        for limit in ((), ("--limit", "1"), ("--limit", "55"), ("--limit", "0"))
    ]

    assert lengths == [50, 1, 55, 60]


def test_the_past_is_shown_as_it_was(scrip, ask, clock):
    ask("OpenAccount")
    ask("Grant", amount=100)
    hold = ask("Hold", amount=30)
    clock.now += DAY / 2
    ask("CheckAndDeduct", amount=100)
    past = ("--as-of", "2026-01-01T00:00:00Z", "--format", "json")

    (balance,) = json_of(scrip("balance", "acme", *past))
    (lot,) = json_of(scrip("lots", "acme", *past))
    (held,) = json_of(scrip("holds", "acme", *past))
    books = {row["code"]: row["balance"] for row in json_of(scrip("trial-balance", *past))}

    assert (balance["available"], balance["held"]) == (70, 30)
    assert (lot["remaining"], lot["held"]) == (70, 30)
    assert (held["hold_id"], held["state"], held["held"]) == (hold.hold_id, "open", 30)
    assert (books["held"], books["revenue"]) == ("-30", "0")


def test_what_runs_out_soon_is_shown_if_asked_for(scrip, ask):
    ask("OpenAccount")
    ask("Grant", amount=10, ttl=DAY)
    ask("Grant", amount=5)

    expected = {**BALANCE, "available": 15, "expiring": 10}
    assert_says(scrip, [expected], "balance", "acme", "--expiring-within", "1d")
    assert_says(
        scrip, [{**expected, "expiring": 0}], "balance", "acme", "--asset", "credits", "--expiring-within", "9h"
    )


@pytest.fixture
def story(ask, clock):
    """Entries of many kinds; the ids of what the filters name."""
    ask("OpenAccount")
    lot = ask("Grant", amount=100, memo=Memo(reference="R-1")).lot_id
    hold = ask("Hold", amount=30, operation="chat").hold_id
    clock.now += DAY / 100
    ask("Capture", hold_id=hold, amount=20)
    ask("CheckAndDeduct", amount=5, operation="image/paint")
    ask("Adjust", amount=5)
    return {"LOT": lot, "HOLD": hold}


@pytest.mark.parametrize(
    ("filters", "kinds"),
    [
        ("", "adjust deduct capture hold grant open"),
        ("--oldest-first", "open grant hold capture deduct adjust"),
        ("--kind hold --kind capture", "capture hold"),
        ("--since 2026-01-01T00:00:01Z", "adjust deduct capture"),
        ("--until 2026-01-01T00:00:01Z", "hold grant open"),
        ("--reference R-1", "grant"),
        ("--operation chat", "capture hold"),
        ("--lot LOT", "deduct capture hold grant"),
        ("--hold HOLD", "capture hold"),
        ("--hold HOLD --kind hold --oldest-first", "hold"),
        ("--limit 2", "adjust deduct"),
    ],
)
def test_a_history_has_what_is_asked_for(scrip, story, filters, kinds):
    words = [story.get(word, word) for word in filters.split()]

    rows = json_of(scrip("history", "acme", *words, "--format", "json"))

    assert [row["kind"] for row in rows] == kinds.split()


def test_a_history_may_leave_the_lines_out(scrip, story):
    rows = json_of(scrip("history", "acme", "--without-lines", "--format", "json"))

    assert {row["lines"] for row in rows} == {""}
    assert "lines" not in scrip("history", "acme", "--without-lines").stdout.splitlines()[0]


def test_explain_tells_which_lots_burnt_by_which_rule_and_which_limits_counted(scrip, ask):
    ask("OpenAccount")
    paid = ask("Grant", amount=100, source=SOURCE_PURCHASE)
    free = ask("Grant", amount=10)
    images = ask("Grant", amount=7, scope=["image/*"])
    ask("UpdateAccount", limits=SpendLimits(limits=[SpendLimit(name="daily", window="WINDOW_DAY", amount=50)]))
    entry = ask("CheckAndDeduct", amount=30)

    nothing = dict.fromkeys(("amount", "remaining_before", "held_before", "limit", "limit_amount", "used"))
    nothing["next_lot_id"] = None
    lot = {"expires_at": None, "held": 0}
    first = {"lot_id": free.lot_id, "source": "promo", "priority": 20, "remaining": 0, "because": "priority"}
    second = {"lot_id": paid.lot_id, "source": "purchase", "priority": 60, "remaining": 80, "because": ""}
    passed = {"lot_id": images.lot_id, "source": "promo", "priority": 20, "remaining": 7, "because": "scope"}
    limit = dict.fromkeys(("lot_id", "source", "priority", "expires_at", "remaining", "held", "because"))
    expected = [
        {**nothing, **lot, **first, "what": "burnt", "amount": 10, "remaining_before": 10, "held_before": 0},
        {**nothing, **lot, **second, "what": "burnt", "amount": 20, "remaining_before": 100, "held_before": 0},
        {**nothing, **lot, **passed, "what": "passed over"},
        {**nothing, **limit, "what": "counted", "limit": "daily", "limit_amount": 50, "used": 30},
    ]
    expected[0]["next_lot_id"], expected[1]["next_lot_id"] = paid.lot_id, ""
    assert json_of(scrip("explain", entry.entry_id, "--format", "json")) == expected
    table = scrip("explain", entry.entry_id).stdout
    assert "Dr available Cr revenue 10; Dr available Cr revenue 20" in table
    assert "passed over" in table
