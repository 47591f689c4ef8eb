"""What is sold, paid and told by Stripe, from the command line."""

import json

import pytest
from scrip import Client

from tests.cli.saying import table_of
from tests.server.paying import URL, paying

STARTER = ("packages", "create", "starter", "--title", "Starter", "--price", "1999", "EUR")


@pytest.fixture
def buyer(sqlite_url, clock):
    """A server that takes payments."""
    with paying(sqlite_url, clock) as buyer:
        yield buyer


@pytest.fixture
def scrip(run, buyer):
    """The rows that the command shows, asking that server; `table` has them as people see them."""

    def scrip(*arguments: str, exit_code: int = 0):
        result = run(*arguments, "--format", "json", SCRIP_SERVER=buyer.ask.target)
        assert result.exit_code == exit_code, result.stderr
        return json.loads(result.stdout) if exit_code == 0 else result.stderr

    return scrip


def order_of(scrip) -> dict:
    """A starter that acme is to pay."""
    scrip(*STARTER, "--content", "credits:100")
    (order,) = scrip("checkout", "acme", "starter", "--success-url", URL)
    return order


@pytest.mark.parametrize(
    "content", ["credits:1", "credits:1+2", "credits:1:365d", "credits:1+2::30d", "credits:1+2:90s:12h"]
)
def test_a_content_of_a_package_is_shown_as_it_was_said(scrip, content):
    (made,) = scrip(*STARTER, "--content", content)

    assert made["contents"] == content
    assert (made["price"], made["active"]) == ("1999 EUR", True)


def test_a_bundle_has_a_content_for_each_asset(scrip):
    scrip("define-asset", "images")

    (made,) = scrip(*STARTER, "--content", "credits:1", "--content", "images:2", "--metadata", "tier=gold")

    assert made["contents"] == "credits:1 images:2"
    assert json.loads(made["metadata"]) == {"tier": "gold"}


def test_what_is_not_named_stays_when_a_package_is_updated(scrip):
    scrip(*STARTER, "--content", "credits:1+2:90s:12h", "--text", "more", "--sort-order", "3", "--metadata", "a=b")

    (before,) = scrip("packages", "list")
    (dearer,) = scrip("packages", "update", "starter", "--price", "2999", "USD")
    (renamed,) = scrip("packages", "update", "starter", "--title", "New")

    assert dearer == {**before, "price": "2999 USD"}
    assert renamed == {**dearer, "title": "New"}


def test_what_somebody_else_changes_at_the_same_moment_is_not_set_back(scrip, monkeypatch):
    scrip(*STARTER, "--content", "credits:1")
    read = Client.packages

    def read_and_change(client, **asked):
        found = read(client, **asked)
        monkeypatch.setattr(Client, "packages", read)
        scrip("packages", "update", "starter", "--title", "Theirs")
        return found

    monkeypatch.setattr(Client, "packages", read_and_change)
    error = scrip("packages", "update", "starter", "--price", "2999", "USD", exit_code=1)

    assert error.startswith("Error: package starter was changed meanwhile.")
    (kept,) = scrip("packages", "list")
    assert (kept["title"], kept["price"]) == ("Theirs", "1999 EUR")


def test_a_package_is_taken_off_sale_and_put_back(scrip):
    scrip(*STARTER, "--content", "credits:1")

    (off,) = scrip("packages", "deactivate", "starter")
    listed = (scrip("packages", "list"), [one["package"] for one in scrip("packages", "list", "--all")])
    (on,) = scrip("packages", "update", "starter")

    assert (off["active"], listed, on["active"]) == (False, ([], ["starter"]), True)


def test_a_package_that_is_not_there_cannot_be_updated(scrip):
    error = scrip("packages", "update", "starter", exit_code=1)

    assert error == "Error: There is no package starter. Make it with: scrip packages create\n"


@pytest.mark.parametrize(
    "content", ["credits", "credits:", "credits:-1", "credits:1+", "credits:1:1w", "credits:1:1d:2d:3d"]
)
def test_what_is_no_content_of_a_package_is_an_error(scrip, content):
    error = scrip(*STARTER, "--content", content, exit_code=2)

    assert "is not a " in error


def test_a_price_is_told_in_minor_units(scrip):
    price = ("--price", "19.99", "EUR")

    error = scrip("packages", "create", "starter", "--title", "Starter", *price, "--content", "credits:1", exit_code=2)

    assert "'19.99' is not a whole number of minor units, such as 1999 for 19.99 EUR." in error


@pytest.mark.parametrize(
    "content", ["credits:500", "images:unlimited", "credits:500:50%:0", "credits:500:100%:250", "credits:5:1%:2:30d"]
)
def test_a_plan_is_put_and_shown_as_it_was_said(scrip, content):
    scrip("define-asset", "images")

    (put,) = scrip(
        "plans", "put", "pro", "--title", "Pro", "--stripe-price", "price_1", "--content", content,
        "--monthly", "--at-renewal", "--grace", "3d",
    )  # fmt: skip

    assert put["contents"] == content
    assert (put["granted"], put["change"], put["grace"]) == ("monthly", "at_renewal", "3d")
    assert scrip("plans", "list") == [put]


@pytest.mark.parametrize("content", ["credits", "credits:x", "credits:5:50", "credits:5:50%:1:", "images:unlimited:1%"])
def test_what_is_no_content_of_a_plan_is_an_error(scrip, content):
    put = ("plans", "put", "pro", "--title", "Pro", "--stripe-price", "price_1", "--content", content)

    if content == "credits:5:50%:1:":
        assert scrip(*put)[0]["contents"] == "credits:5:50%:1"
    else:
        assert "is not a content such as" in scrip(*put, exit_code=2)


def test_a_checkout_is_paid_and_its_order_shown(scrip, buyer):
    order = order_of(scrip)
    assert (order["state"], order["account"], order["sold"]) == ("open", "acme", "starter")
    assert order["url"].startswith("http")

    buyer.stripe.world.pay(order["stripe_id"])
    (paid,) = scrip("order", order["order_id"])

    assert (paid["state"], paid["paid"]) == ("fulfilled", "1999 EUR")
    assert scrip("orders", "acme") == scrip("orders") == [paid]
    assert scrip("orders", "beta") == []


def test_what_a_person_has_to_open_stands_on_a_line_of_its_own(run, scrip, buyer):
    order = order_of(scrip)
    checkout = ("checkout", "acme", "starter", "--success-url", URL)
    server = {"SCRIP_SERVER": buyer.ask.target}

    asked = run(*checkout, "--request-id", "r-7", **server).stdout.splitlines()
    buyer.stripe.world.pay(asked[-1].rsplit("/", 1)[1])
    (shown,) = [line for line in run("order", asked[2].split()[0], **server).stdout.splitlines() if "state" in line]
    repeated = run(*checkout, "--request-id", "r-7", **server).stdout.splitlines()
    link = run("purchase-link", "acme", "--ttl", "12h", **server).stdout.splitlines()

    assert asked[-1].startswith("Pay at: http")
    assert asked[-1] != f"Pay at: {order['url']}"
    assert shown.split() == ["state", "fulfilled"]
    # What is paid has no address any more.
    assert (repeated[2].split()[0], len(repeated)) == (asked[2].split()[0], 3)
    assert link[0].startswith("http://127.0.0.1:8080/buy/")
    assert link[1:] == ["Good until 2026-01-01T12:00:00Z."]


def test_a_checkout_is_of_a_package_or_a_plan(scrip):
    for what in ((), ("starter", "--plan", "pro")):
        assert "Name a PACKAGE or a --plan." in scrip("checkout", "acme", *what, "--success-url", URL, exit_code=2)


def test_an_order_is_fulfilled_by_hand_with_a_reason(scrip, buyer):
    order = order_of(scrip)

    assert "Missing option '--description'" in scrip("fulfil", order["order_id"], "--actor", "jo", exit_code=2)
    (fulfilled,) = scrip("fulfil", order["order_id"], "--description", "paid by transfer", "--actor", "jo")

    assert fulfilled["state"] == "fulfilled"
    assert buyer.available() == 100


def test_what_a_lost_webhook_left_is_listed_asked_for_and_posted(run, scrip, buyer):
    order = order_of(scrip)
    buyer.stripe.world.pay(order["stripe_id"])
    reconcile = ("stripe", "reconcile", "--days", "1")

    shown = scrip(*reconcile, "--preview")
    assert {event["state"] for event in shown} == {"missing"}
    asked = run(*reconcile, SCRIP_SERVER=buyer.ask.target)
    assert asked.exit_code == 1
    assert [row["event_id"] for row in table_of(asked.stdout.split("Post these")[0].rstrip())] == [
        event["event_id"] for event in shown
    ]
    assert "Post these 2? [y/N]" in asked.stdout
    assert scrip("stripe", "events") == []

    posted = scrip(*reconcile, "--yes")

    assert [event["state"] for event in posted] == ["applied", "applied"]
    assert scrip(*reconcile, "--yes") == []
    nothing = run(*reconcile, SCRIP_SERVER=buyer.ask.target)
    assert nothing.stdout == "(none)\nEvents at Stripe: 2. Posted: 0.\n"
    assert (buyer.available(), len(scrip("stripe", "events", "--state", "applied"))) == (100, 2)


def test_an_event_is_replayed(scrip, buyer):
    order = order_of(scrip)
    completed = buyer.stripe.world.pay(order["stripe_id"])[-1]

    (event,) = scrip("stripe", "replay", completed["id"])

    assert (event["state"], event["order_id"]) == ("applied", order["order_id"])
    error = scrip("stripe", "replay", "evt_nothing", exit_code=1)
    assert error == "Error: Neither Scrip nor Stripe has an event evt_nothing.\n"


def test_a_link_is_made_for_a_customer(scrip):
    scrip("open", "acme")

    (link,) = scrip("purchase-link", "acme", "--ttl", "12h")

    assert link["url"].startswith("http://127.0.0.1:8080/buy/")
    assert link["expires_at"] == "2026-01-01T12:00:00Z"


def test_an_account_is_told_to_recharge_itself_and_not_to(scrip, buyer):
    buyer.begin()
    agreed = ("--consent", "terms", "--consent-by", "jo", "--consent-at", "2026-01-01")

    (on,) = scrip("auto-recharge", "acme", "--threshold", "10", "--package", "starter", "--cap", "5000", "EUR", *agreed)
    (shown,) = scrip("auto-recharge", "acme")
    (off,) = scrip("auto-recharge", "acme", "--off")

    assert on == shown
    assert (on["enabled"], on["threshold"], on["consent"], on["consent_by"]) == (True, 10, "terms", "jo")
    assert not off["enabled"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--off", "--threshold", "10"), "With --off there is nothing else to say."),
        (("--threshold", "10"), "Say what the customer agreed to"),
    ],
    ids=["on and off", "without consent"],
)
def test_a_recharge_is_said_whole(scrip, arguments, error):
    assert error in scrip("auto-recharge", "acme", *arguments, exit_code=2)


def test_subscriptions_are_listed(scrip):
    assert scrip("subscriptions") == scrip("subscriptions", "acme") == []
