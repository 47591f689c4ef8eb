"""What is sold is checked field by field; without a key of Stripe's, nothing is sold but all can be read."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1.billing_service_pb2 import AutoRecharge, Consent, Package, PackageContent, Plan, PlanContent, Rollover
from scrip.v1.types_pb2 import Memo, Money

INT64_MAX = 2**63 - 1
DAY_S = 86_400
TOO_LONG = Duration(seconds=36_500 * DAY_S + 1)
URL = "https://shop.example/done"


def content(**fields):
    return PackageContent(**{"credits": 1, **fields})


def package(**fields):
    usual = {
        "package": "starter",
        "title": "Starter",
        "contents": [content()],
        "price": Money(minor_units=1999, currency="EUR"),
    }
    return Package(**{**usual, **fields})


def plan(**fields):
    usual = {"plan": "pro", "title": "Pro", "stripe_prices": ["price_1"], "contents": [PlanContent(credits=1)]}
    return Plan(**{**usual, "active": True, **fields})


def consent(**fields):
    return Consent(**{"text": "terms", "actor": "jo", "at": Timestamp(seconds=1_767_225_600), **fields})


def recharge(**fields):
    usual = {
        "account_id": "acme",
        "enabled": True,
        "threshold": 1,
        "package": "starter",
        "cap": Money(minor_units=1, currency="EUR"),
    }
    return AutoRecharge(**{**usual, "consent": consent(), **fields})


def checkout(**fields):
    return {"package": "starter", "success_url": URL, "cancel_url": URL, **fields}


def assert_malformed(books, field, rpc, **fields):
    told = books.refusal(rpc, **fields)
    assert told.reason == "INVALID_FIELD"
    assert set(told.fields) == {field}
    assert told.message.startswith(f"{field} must ")


PACKAGES = {
    "without a name": ("package", package(package="")),
    "with a name in capitals": ("package", package(package="Starter")),
    "without a title": ("title", package(title="")),
    "with a long title": ("title", package(title="t" * 101)),
    "with a NUL in its title": ("title", package(title="\0")),
    "with a long description": ("description", package(description="d" * 501)),
    "of nothing": ("contents", package(contents=[])),
    "of eleven assets": ("contents", package(contents=[content(asset=f"a{n}") for n in range(11)])),
    "of one asset twice": ("contents", package(contents=[content(), content(asset="credits")])),
    "of an asset in capitals": ("contents[0].asset", package(contents=[content(asset="A")])),
    "of no credits": ("contents[0].credits", package(contents=[content(credits=0)])),
    "of less than none": ("contents[1].credits", package(contents=[content(), content(asset="b", credits=-1)])),
    "with less than no bonus": ("contents[0].bonus_credits", package(contents=[content(bonus_credits=-1)])),
    "valid for no time": ("contents[0].validity", package(contents=[content(validity=Duration())])),
    "valid for too long": ("contents[0].validity", package(contents=[content(validity=TOO_LONG)])),
    "with a bonus for no time": ("contents[0].bonus_validity", package(contents=[content(bonus_validity=Duration())])),
    "for nothing": ("price.minor_units", package(price=Money(currency="EUR"))),
    "for less than nothing": ("price.minor_units", package(price=Money(minor_units=-1, currency="EUR"))),
    "in no currency": ("price.currency", package(price=Money(minor_units=1, currency="eur"))),
    "with long metadata": ('metadata["k"]', package(metadata={"k": "v" * 501})),
    "of a version that cannot be": ("version", package(version=-1)),
}


@pytest.mark.parametrize("rpc", ["CreatePackage", "UpdatePackage"])
@pytest.mark.parametrize(("field", "wrong"), PACKAGES.values(), ids=PACKAGES)
def test_a_package_has_a_form(sqlite_books, rpc, field, wrong):
    assert_malformed(sqlite_books, field, rpc, package=wrong)


PLANS = {
    "without a name": ("plan", plan(plan="")),
    "without a title": ("title", plan(title="")),
    "without a price": ("stripe_prices", plan(stripe_prices=[])),
    "of eleven prices": ("stripe_prices", plan(stripe_prices=[f"price_{n}" for n in range(11)])),
    "of one price twice": ("stripe_prices", plan(stripe_prices=["price_1", "price_1"])),
    "of a price that is empty": ("stripe_prices[0]", plan(stripe_prices=[""])),
    "of nothing": ("contents", plan(contents=[])),
    "of one asset twice": ("contents", plan(contents=[PlanContent(credits=1), PlanContent(credits=2)])),
    "of no credits": ("contents[0].credits", plan(contents=[PlanContent()])),
    "of credits and unlimited": ("contents[0].credits", plan(contents=[PlanContent(credits=1, unlimited=True)])),
    "that rolls nothing over": (
        "contents[0].rollover.share_percent",
        plan(contents=[PlanContent(credits=1, rollover=Rollover())]),
    ),
    "that rolls more over than there is": (
        "contents[0].rollover.share_percent",
        plan(contents=[PlanContent(credits=1, rollover=Rollover(share_percent=101))]),
    ),
    "with a cap below nothing": (
        "contents[0].rollover.cap",
        plan(contents=[PlanContent(credits=1, rollover=Rollover(share_percent=1, cap=-1))]),
    ),
    "that rolls over for no time": (
        "contents[0].rollover.ttl",
        plan(contents=[PlanContent(credits=1, rollover=Rollover(share_percent=1, ttl=Duration()))]),
    ),
    "that rolls over what is unlimited": (
        "contents[0].rollover",
        plan(contents=[PlanContent(unlimited=True, rollover=Rollover(share_percent=1))]),
    ),
    "that changes in a way that is none": ("change", plan(change=99)),
    "granted in a way that is none": ("granted", plan(granted=-1)),
    "with no grace at all": ("grace", plan(grace=Duration())),
    "with endless grace": ("grace", plan(grace=Duration(seconds=367 * DAY_S))),
}


@pytest.mark.parametrize(("field", "wrong"), PLANS.values(), ids=PLANS)
def test_a_plan_has_a_form(sqlite_books, field, wrong):
    assert_malformed(sqlite_books, field, "PutPlan", plan=wrong)


CHECKOUTS = {
    "without a request_id": ("request_id", checkout(request_id=None)),
    "with an endless request_id": ("request_id", checkout(request_id="r" * 129)),
    "for nobody": ("account_id", checkout(account_id=None)),
    "of nothing": ("sold", checkout(package=None)),
    "of a package in capitals": ("package", checkout(package="Starter")),
    "of a plan in capitals": ("plan", checkout(package=None, plan="Pro")),
    "that comes back nowhere": ("success_url", checkout(success_url="")),
    "that comes back in the clear": ("success_url", checkout(success_url="http://shop.example/done")),
    "that comes back to a script": ("cancel_url", checkout(cancel_url="javascript:alert(1)")),
    "that turns back with a line break": ("cancel_url", checkout(cancel_url="https://shop.example/\n")),
    "that turns back far": ("cancel_url", checkout(cancel_url=f"https://shop.example/{'a' * 2_000}")),
}


@pytest.mark.parametrize(("field", "wrong"), CHECKOUTS.values(), ids=CHECKOUTS)
def test_a_checkout_has_a_form(sqlite_books, field, wrong):
    assert_malformed(sqlite_books, field, "CreateCheckout", **wrong)


RECHARGES = {
    "of nobody": ("account_id", recharge(account_id="")),
    "of an asset in capitals": ("asset", recharge(asset="Credits")),
    "below nothing": ("threshold", recharge(threshold=0)),
    "of no package": ("package", recharge(package="")),
    "to less than its threshold": ("target", recharge(threshold=2, target=1)),
    "to less than nothing": ("target", recharge(target=-1)),
    "without a cap": ("cap", recharge(cap=None)),
    "with a cap of nothing": ("cap.minor_units", recharge(cap=Money(currency="EUR"))),
    "without a consent": ("consent", recharge(consent=None)),
    "with a consent to nothing": ("consent.text", recharge(consent=consent(text=""))),
    "with a consent of nobody": ("consent.actor", recharge(consent=consent(actor=""))),
    "with a consent at no time": ("consent.at", recharge(consent=consent(at=Timestamp(seconds=-1)))),
}


@pytest.mark.parametrize(("field", "wrong"), RECHARGES.values(), ids=RECHARGES)
def test_a_recharge_has_a_form(sqlite_books, field, wrong):
    assert_malformed(sqlite_books, field, "SetAutoRecharge", auto_recharge=wrong)


@pytest.mark.parametrize(
    ("rpc", "field", "fields"),
    [
        ("ListPackages", "asset", {"asset": "Credits"}),
        ("ListOrders", "account_id", {"account_id": "ä"}),
        ("ListOrders", "page_size", {"page_size": -1}),
        ("ListSubscriptions", "account_id", {"account_id": "ä"}),
        ("ListStripeEvents", "page_size", {"page_size": -1}),
        ("ListStripeEvents", "state", {"state": 99}),
        ("GetAutoRecharge", "account_id", {"account_id": None}),
        ("GetAutoRecharge", "asset", {"asset": "Credits"}),
        ("CreatePurchaseLink", "account_id", {"account_id": None}),
        ("CreatePurchaseLink", "asset", {"asset": "Credits"}),
        ("CreatePurchaseLink", "ttl", {"ttl": Duration()}),
        ("CreatePurchaseLink", "ttl", {"ttl": Duration(seconds=30 * DAY_S, nanos=1_000)}),
        ("Reconcile", "days", {"days": 0}),
        ("Reconcile", "days", {"days": 31}),
    ],
)
def test_what_is_asked_for_has_a_form(sqlite_books, rpc, field, fields):
    assert_malformed(sqlite_books, field, rpc, **fields)


def test_who_fulfils_an_order_by_hand_says_why_and_who(sqlite_books):
    assert_malformed(sqlite_books, "memo.description", "Fulfil", order_id="or_x", memo=Memo(actor="who"))
    assert_malformed(sqlite_books, "memo.actor", "Fulfil", order_id="or_x", memo=Memo(description="why"))


def names(packages):
    return [one.package for one in packages]


def test_a_package_is_made_once_and_listed_in_its_place(ask):
    made = ask("CreatePackage", package=package(sort_order=2, metadata={"tier": "gold"})).package
    again = ask("CreatePackage", package=package(sort_order=2, metadata={"tier": "gold"})).package
    ask("CreatePackage", package=package(package="first", sort_order=1))
    ask("CreatePackage", package=package(package="another", sort_order=2))

    assert made == again
    assert made.active
    assert (made.contents[0].asset, made.metadata) == ("credits", {"tier": "gold"})
    assert names(ask("ListPackages").packages) == ["first", "another", "starter"]


def test_a_package_of_the_same_name_with_other_terms_is_refused(ask_sqlite):
    ask_sqlite("CreatePackage", package=package())

    told = ask_sqlite.refusal("CreatePackage", package=package(title="Other"))

    assert (told.reason, told.metadata) == ("PACKAGE_EXISTS", {"package": "starter"})


@pytest.mark.parametrize("rpc", ["CreatePackage", "UpdatePackage"])
def test_a_package_is_of_assets_that_are_defined(ask_sqlite, rpc):
    ask_sqlite("CreatePackage", package=package())

    told = ask_sqlite.refusal(rpc, package=package(contents=[content(asset="points")]))

    assert (told.reason, told.metadata) == ("ASSET_NOT_FOUND", {"asset": "points"})


@pytest.mark.parametrize(
    ("rpc", "field"), [("UpdatePackage", {"package": package()}), ("DeactivatePackage", {"package": "starter"})]
)
def test_what_is_changed_is_there(ask_sqlite, rpc, field):
    told = ask_sqlite.refusal(rpc, **field)

    assert (told.reason, told.metadata) == ("PACKAGE_NOT_FOUND", {"package": "starter"})


def test_a_package_is_taken_off_sale_and_put_back_by_an_update(ask):
    ask("CreatePackage", package=package())

    off = ask("DeactivatePackage", package="starter").package
    listed = ask("ListPackages").packages
    everything = ask("ListPackages", include_inactive=True).packages
    on = ask("UpdatePackage", package=package(title="New", active=True)).package

    assert (off.active, list(listed), names(everything)) == (False, [], ["starter"])
    assert (on.active, on.title) == (True, "New")
    assert names(ask("ListPackages").packages) == ["starter"]


def test_of_a_package_the_version_is_replaced_that_was_seen(ask_sqlite):
    seen = ask_sqlite("CreatePackage", package=package()).package
    changed = ask_sqlite("UpdatePackage", package=package(title="New", version=seen.version)).package

    told = ask_sqlite.refusal("UpdatePackage", package=package(title="Newer", version=seen.version))

    assert (seen.version, changed.version) == (1, 2)
    assert (told.reason, told.metadata) == ("CHANGED_MEANWHILE", {"what": "package starter"})


def test_packages_are_listed_by_what_they_have(ask_sqlite):
    ask_sqlite("DefineAsset", asset="images", scale=0)
    ask_sqlite("CreatePackage", package=package())
    ask_sqlite("CreatePackage", package=package(package="studio", contents=[content(), content(asset="images")]))

    assert names(ask_sqlite("ListPackages", asset="images").packages) == ["studio"]
    assert names(ask_sqlite("ListPackages", asset="credits").packages) == ["starter", "studio"]


def test_a_plan_is_put_and_replaced(ask):
    rollover = Rollover(share_percent=50, cap=10, ttl=Duration(seconds=DAY_S))
    wanted = plan(contents=[PlanContent(asset="credits", credits=500, rollover=rollover)], granted="GRANTED_MONTHLY")

    put = ask("PutPlan", plan=wanted).plan
    ask("PutPlan", plan=plan(title="Less", active=False))

    assert (put.contents[0], put.granted, put.change) == (
        wanted.contents[0],
        Plan.GRANTED_MONTHLY,
        Plan.CHANGE_PRO_RATA,
    )
    assert list(ask("ListPlans").plans) == []
    assert [one.title for one in ask("ListPlans", include_inactive=True).plans] == ["Less"]


def test_a_plan_is_of_assets_that_are_defined(ask_sqlite):
    told = ask_sqlite.refusal("PutPlan", plan=plan(contents=[PlanContent(asset="points", credits=1)]))

    assert (told.reason, told.metadata) == ("ASSET_NOT_FOUND", {"asset": "points"})


def test_a_price_of_stripe_belongs_to_one_plan(ask_sqlite):
    ask_sqlite("PutPlan", plan=plan())

    told = ask_sqlite.refusal("PutPlan", plan=plan(plan="other"))

    assert told.reason == "INVALID_FIELD"
    assert told.fields[0].startswith("stripe_prices")


@pytest.mark.parametrize(
    ("rpc", "fields"),
    [
        ("CreateCheckout", checkout()),
        ("ReplayStripeEvent", {"event_id": "evt_1"}),
        ("Reconcile", {"days": 1}),
        ("CreatePurchaseLink", {}),
    ],
)
def test_without_a_key_of_stripe_no_payments_are_taken(ask_sqlite, rpc, fields):
    ask_sqlite("OpenAccount")

    told = ask_sqlite.refusal(rpc, **fields)

    assert (told.reason, told.metadata) == ("PAYMENTS_NOT_CONFIGURED", {"setting": "stripe_api_key"})


def test_without_a_key_of_stripe_all_can_be_read(ask_sqlite):
    assert list(ask_sqlite("ListOrders").orders) == []
    assert list(ask_sqlite("ListSubscriptions").subscriptions) == []
    assert list(ask_sqlite("ListStripeEvents").events) == []
    assert ask_sqlite("GetAutoRecharge").auto_recharge == AutoRecharge(account_id="acme", asset="credits")
    for rpc in ("GetCheckout", "Fulfil"):
        memo = {"memo": Memo(description="why", actor="who")} if rpc == "Fulfil" else {}
        told = ask_sqlite.refusal(rpc, order_id="or_nothing", **memo)
        assert (told.reason, told.metadata) == ("ORDER_NOT_FOUND", {"order_id": "or_nothing"})


@pytest.mark.parametrize("rpc", ["ListOrders", "ListStripeEvents"])
def test_a_page_token_is_one_of_the_list(ask_sqlite, rpc):
    assert ask_sqlite.refusal(rpc, page_token="nonsense").reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize(
    "name", ["\0", "x" * 100_000, "../customers", "or_%27"], ids=["NUL", "endless", "path", "escaped"]
)
def test_a_name_that_nothing_can_have_finds_nothing(books, name):
    memo = Memo(description="why", actor="who")

    told = [
        books.refusal("DeactivatePackage", package=name),
        books.refusal("GetCheckout", order_id=name),
        books.refusal("Fulfil", order_id=name, memo=memo),
    ]

    assert [one.reason for one in told] == ["PACKAGE_NOT_FOUND", "ORDER_NOT_FOUND", "ORDER_NOT_FOUND"]
