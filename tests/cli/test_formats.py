"""Every command of the books says the same in a table, in JSON and in CSV, exactly."""

import json

from google.protobuf.duration_pb2 import Duration
from scrip.v1.types_pb2 import SOURCE_PURCHASE, Money

from tests.cli.saying import INT64_MAX, as_text, assert_says, csv_of, json_of, table_of

BALANCE = {"asset": "credits", "scale": 0, "held": 0, "owed": 0, "pending": 0}
TYPES = {
    "available": "liability",
    "held": "liability",
    "owed": "asset",
    "payments": "asset",
    "promotions": "expense",
    "plans": "expense",
    "adjustments": "equity",
    "revenue": "income",
    "breakage": "income",
    "transfers": "clearing",
}


def sides(debits: int = 0, credits_: int = 0) -> dict[str, str]:
    return {"debits": str(debits), "credits": str(credits_), "balance": str(debits - credits_)}


def trial_balance(**sums: dict[str, str]) -> list[dict[str, object]]:
    """The rows of credits; codes that are not named are zero."""
    rows = [{"code": code, "type": kind, **sums.get(code, sides())} for code, kind in TYPES.items()]
    rows.append({"code": "total", "type": "", **sums["total"]})
    return [{"asset": "credits", "scale": 0, **row} for row in rows]


def test_open(scrip, ask):
    opened = ask("OpenAccount", request_id="r-1")

    made = {"entry_id": opened.entry_id, "welcome_lot_id": ""}
    expected = {**made, "account": "acme", **BALANCE, "available": 0, "replayed": True}
    assert_says(scrip, [expected], "open", "acme", "--request-id", "r-1", not_in_tables={"scale", "welcome_lot_id"})


def test_a_change_says_whether_it_was_done_before(scrip):
    said = [json.loads(scrip("open", "acme", "--request-id", "r-1", "--format", "json").stdout) for _ in range(2)]

    assert [row["replayed"] for (row,) in said] == [False, True]


def test_grant(scrip, ask):
    ask("OpenAccount")
    terms = ["--source", "purchase", "--cost", "1999", "EUR", "--priority", "3", "--ttl", "30d"]
    memo = ["--description", 'for "you", and me', "--reference", "R-1", "--actor", "me"]
    command = ("grant", "acme", str(INT64_MAX), *terms, *memo, "--request-id", "mine")
    scrip(*command)

    (granted, _) = ask("History").entries
    (lot,) = granted.lots
    made = {"entry_id": granted.entry_id, "lot_id": lot.lot_id, "expires_at": "2026-01-31T00:00:00Z", "repaid": 0}
    expected = {**made, "account": "acme", **BALANCE, "available": INT64_MAX, "replayed": True}
    assert_says(scrip, [expected], *command, not_in_tables={"scale", "lot_id"})
    assert (granted.memo.description, granted.memo.reference, granted.memo.actor) == ('for "you", and me', "R-1", "me")
    assert (lot.cost.minor_units, lot.cost.currency) == (1999, "EUR")
    assert (lot.priority, lot.source) == (3, SOURCE_PURCHASE)
    assert lot.expires_at.ToJsonString() == "2026-01-31T00:00:00Z"


def test_a_grant_of_instants(scrip, ask):
    ask("OpenAccount")
    scrip(
        "grant",
        "acme",
        "5",
        "--source",
        "promo",
        "--effective-at",
        "2026-01-02",
        "--expires-at",
        "2026-02-01T00:00+01:00",
    )

    (lot,) = ask("History").entries[0].lots
    assert lot.effective_at.ToJsonString() == "2026-01-02T00:00:00Z"
    assert lot.expires_at.ToJsonString() == "2026-01-31T23:00:00Z"


def test_balance(scrip, ask):
    ask("DefineAsset", asset="tokens", scale=6)
    for asset in ("credits", "tokens"):
        ask("OpenAccount", asset=asset)
    ask("Grant", amount=INT64_MAX)
    ask("Hold", amount=7)

    tokens = {**BALANCE, "account": "acme", "asset": "tokens", "scale": 6, "available": 0}
    expected = [{**BALANCE, "account": "acme", "available": INT64_MAX - 7, "held": 7}, tokens]
    assert_says(scrip, expected, "balance", "acme")


def test_history(scrip, ask):
    ask("OpenAccount", request_id="mine")
    ask("Grant", request_id="r-2", amount=10)
    hold = ask("Hold", request_id="r-3", amount=4, ttl=Duration(seconds=9))
    ask("Capture", request_id="=1+1", hold_id=hold.hold_id, amount=3)

    entries = [
        ("capture", "Dr held Cr revenue 3; Dr held Cr available 1", 7, 0, "=1+1"),
        ("hold", "Dr available Cr held 4", 6, 4, "r-3"),
        ("grant", "Dr promotions Cr available 10", 10, 0, "r-2"),
        ("open", "", 0, 0, "mine"),
    ]
    found = ask("History").entries
    expected = [
        {
            "seq": 4 - n,
            "effective_at": "2026-01-01T00:00:00Z",
            "kind": kind,
            "lines": lines,
            "available": available,
            "held": held,
            "owed": 0,
            "request_id": request_id,
            "entry_id": found[n].entry_id,
        }
        for n, (kind, lines, available, held, request_id) in enumerate(entries)
    ]
    assert table_of(scrip("history", "acme").stdout) == as_text(expected)
    for row, entry in zip(expected, found, strict=True):
        row |= {"pending": 0, "recorded_at": "2026-01-01T00:00:00Z", "description": "", "reference": "", "actor": ""}
        row |= {"operation": "", "lot_ids": "", "hold_id": entry.hold_id, "hash": entry.hash.hex()}
        row |= {"refunds_entry_id": "", "revokes_lot_id": "", "peer_entry_id": ""}
    expected[2]["lot_ids"] = found[2].lots[0].lot_id
    assert json.loads(scrip("history", "acme", "--format", "json").stdout) == expected
    # A spreadsheet would take the capture's request_id for a formula.
    expected[0]["request_id"] = "'=1+1"
    assert csv_of(scrip("history", "acme", "--format", "csv").stdout) == as_text(expected)


def test_a_history_is_as_long_as_asked_for(scrip, ask):
    ask("OpenAccount")
    for call in [ask.later("Grant") for _ in range(60)]:
        call.result()

    lengths = [
        len(json.loads(scrip("history", "acme", *limit, "--format", "json").stdout))
        for limit in ((), ("--limit", "1"), ("--limit", "55"), ("--limit", "0"), ("--limit", "1000"))
    ]

    assert lengths == [50, 1, 55, 61, 61]


def test_trial_balance(scrip, ask):
    for account_id in ("acme", "beta"):
        ask("OpenAccount", account_id=account_id)
        ask("Grant", account_id=account_id, amount=INT64_MAX)
    ask("CheckAndDeduct", amount=7)

    # More than 64 bits.
    granted = 2 * INT64_MAX
    expected = trial_balance(
        available=sides(7, granted),
        promotions=sides(granted),
        revenue=sides(0, 7),
        total=sides(granted + 7, granted + 7),
    )
    assert_says(scrip, expected, "trial-balance")
    assert_says(scrip, expected, "trial-balance", "--asset", "credits")


def test_books_without_entries_have_no_trial_balance(scrip):
    assert scrip("trial-balance").stdout == "(none)\n"
    assert json.loads(scrip("trial-balance", "--format", "json").stdout) == []
    assert csv_of(scrip("trial-balance", "--format", "csv").stdout) == []


def test_revenue_and_its_journal(scrip, ask):
    ask("OpenAccount")
    cost = Money(minor_units=100, currency="EUR")
    ask("Grant", amount=3, source=SOURCE_PURCHASE, cost=cost, package="starter")
    ask("CheckAndDeduct", amount=1)

    nothing = dict.fromkeys(("opening", "sold", "recognised", "expired", "returned", "adjusted", "transferred"), "0")
    credits_ = {"credits_granted": "3", "credits_used": "1", "credits_expired": "0"}
    paid = {"package": "starter", "currency": "EUR", **nothing, "sold": "100", "recognised": "33", "closing": "67"}
    free = {"package": "free credits", "currency": "", **nothing, "closing": "0"}
    rows = [
        {**paid, **credits_},
        {**paid, **credits_, "package": "all packages"},
        {**free, **dict.fromkeys(credits_, "0")},
    ]
    january = "From 2026-01-01T00:00:00Z until just before 2026-01-01T00:00:00.000001Z, in minor units.\n"
    assert_says(scrip, rows, "revenue", "--from", "2026-01-01", not_in_tables=set(credits_), aside=january)
    december = scrip("revenue", "--from", "2025-12-01", "--to", "2026-01-01", "--format", "json")
    assert json.loads(december.stdout) == [rows[2]]
    assert december.stderr == "From 2025-12-01T00:00:00Z until just before 2026-01-01T00:00:00Z, in minor units.\n"

    sums = {"payments": (100, 0), "deferred": (33, 100), "revenue": (0, 33), "total": (133, 133)}
    expected = [
        {"currency": "EUR", "code": code, "debits": str(debits), "credits": str(less), "balance": str(debits - less)}
        for code in ("payments", "deferred", "revenue", "breakage", "adjustments", "transfers", "total")
        for debits, less in (sums.get(code, (0, 0)),)
    ]
    assert_says(scrip, expected, "money-trial-balance")
    assert scrip("money-trial-balance", "--currency", "USD").stdout == "(none)\n"


def test_revenue_is_summed_up_per_currency(scrip, ask):
    ask("OpenAccount")
    for package, units, currency in (("a", 7, "EUR"), ("a", 5, "USD"), ("b", 11, "EUR")):
        cost = Money(minor_units=units, currency=currency)
        ask("Grant", request_id=f"{package}-{currency}", amount=1, source=SOURCE_PURCHASE, cost=cost, package=package)

    rows = json_of(scrip("revenue", "--from", "2026-01-01", "--format", "json"))

    assert [(row["package"], row["currency"], row["sold"], row["credits_granted"]) for row in rows] == [
        ("a", "EUR", "7", "1"),
        ("b", "EUR", "11", "1"),
        ("all packages", "EUR", "18", "2"),
        ("a", "USD", "5", "1"),
        ("all packages", "USD", "5", "1"),
        ("free credits", "", "0", "0"),
    ]


def asset(name, scale):
    """The row of an asset that nobody has configured."""
    welcome = dict.fromkeys(("welcome", "welcome_source", "welcome_ttl"))
    return {
        "asset": name,
        "scale": scale,
        "auto_open": False,
        **welcome,
        "free_credits_repay_debt": False,
        "default_card": "",
    }


def test_assets(scrip, ask):
    ask("DefineAsset", asset="tokens", scale=6)

    assert_says(scrip, [asset("credits", 0), asset("tokens", 6)], "assets")


def test_define_asset(scrip):
    assert_says(scrip, [asset("tokens", 6)], "define-asset", "tokens", "--scale", "6")
    assert_says(scrip, [asset("calls", 0)], "define-asset", "calls")


def test_audit(scrip, ask):
    ask("OpenAccount")
    ask("Grant")
    ask("OpenAccount", account_id="beta")

    found = {"accounts": 2, "entries": 3, "clean": True, "finding": None}
    assert json.loads(scrip("audit", "--format", "json").stdout) == [found]
    assert csv_of(scrip("audit", "--format", "csv").stdout) == as_text([found])
    assert scrip("audit").stdout == "Accounts: 2. Entries: 3. Verdict: clean.\n"
    assert scrip("audit", "beta", "--asset", "credits").stdout == "Accounts: 1. Entries: 1. Verdict: clean.\n"


def test_an_account_is_shown_as_it_is_called(scrip, ask):
    for account_id in ("a,b", 'say "a"', "a;b", " a ", "a'b", "0x10", "1e3", "-", "'=1"):
        ask("OpenAccount", account_id=account_id)

        (as_json,) = json.loads(scrip("balance", "--format", "json", "--", account_id).stdout)
        (as_csv,) = csv_of(scrip("balance", "--format", "csv", "--", account_id).stdout)

        assert as_json["account"] == account_id
        assert as_csv["account"] in {account_id, f"'{account_id}"}


def test_no_account_becomes_a_formula_of_a_spreadsheet(scrip, ask):
    for account_id in ("=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "=1"):
        ask("OpenAccount", account_id=account_id)

        (row,) = csv_of(scrip("balance", "--format", "csv", "--", account_id).stdout)

        assert row["account"] == f"'{account_id}"
