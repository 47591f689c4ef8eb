"""What is on sale, checkouts and recharges: none that is malformed can be made."""

from datetime import timedelta

import pytest

from ledger import AutoRecharge, Checkout, MalformedError, Package, PackageContent, Plan, PlanContent, Rollover
from tests.selling import eur


def content(**given_):
    return PackageContent(**{"credits": 1, **given_})


def bad_package(**given_):
    return lambda: Package(**{"package": "p", "title": "P", "contents": (content(),), "price": eur(1), **given_})


def bad_plan(**given_):
    plan = {"plan": "p", "title": "P", "stripe_prices": ("price_1",), "contents": (PlanContent(credits=1),)}
    return lambda: Plan(**{**plan, **given_})


def bad_checkout(**given_):
    urls = {"success_url": "https://a.example/", "cancel_url": "https://a.example/"}
    return lambda: Checkout(
        **{"tenant": "default", "request_id": "r", "account_id": "a", "package": "p", **urls, **given_}
    )


def bad_recharge(**given_):
    agreed = {"enabled": True, "threshold": 1, "package": "p", "cap": eur(1)}
    return lambda: AutoRecharge(**{"tenant": "default", "account_id": "a", **agreed, **given_})


MALFORMED = [
    ("package", bad_package(package="No")),
    ("title", bad_package(title="")),
    ("title", bad_package(title="x" * 101)),
    ("description", bad_package(description="x" * 501)),
    ("contents", bad_package(contents=())),
    ("contents", bad_package(contents=(content(), content()))),
    ("contents[0].credits", bad_package(contents=(content(credits=0),))),
    ("contents[0].credits", bad_package(contents=(content(credits=2**63),))),
    ("contents[0].bonus_credits", bad_package(contents=(content(bonus_credits=-1),))),
    ("contents[0].validity", bad_package(contents=(content(validity=timedelta(0)),))),
    ("price.minor_units", bad_package(price=eur(0))),
    ("price.minor_units", bad_package(price=eur(-1))),
    ("sort_order", bad_package(sort_order=2**31)),
    ("plan", bad_plan(plan="")),
    ("stripe_prices", bad_plan(stripe_prices=())),
    ("stripe_prices", bad_plan(stripe_prices=("price_1", "price_1"))),
    ("contents[0].credits", bad_plan(contents=(PlanContent(credits=1, unlimited=True),))),
    ("contents[0].credits", bad_plan(contents=(PlanContent(),))),
    (
        "contents[0].rollover.share_percent",
        bad_plan(contents=(PlanContent(credits=1, rollover=Rollover(share_percent=101)),)),
    ),
    ("grace", bad_plan(grace=timedelta(0))),
    ("sold", bad_checkout(package="")),
    ("sold", bad_checkout(plan="q")),
    ("success_url", bad_checkout(success_url="http://a.example/")),
    ("success_url", bad_checkout(success_url="javascript:alert(1)")),
    ("cancel_url", bad_checkout(cancel_url="")),
    ("request_id", bad_checkout(request_id="")),
    ("consent", bad_recharge()),
    ("threshold", bad_recharge(threshold=0)),
    ("cap", bad_recharge(cap=None)),
    ("cap.minor_units", bad_recharge(cap=eur(0))),
    ("target", bad_recharge(threshold=5, target=4)),
]


@pytest.mark.parametrize(
    ("field", "make"), MALFORMED, ids=[f"{field}-{number}" for number, (field, _) in enumerate(MALFORMED)]
)
def test_what_is_malformed_cannot_be_made(field, make):
    with pytest.raises(MalformedError) as malformed:
        make()

    assert field in {violation.field for violation in malformed.value.violations}


def test_a_checkout_may_come_back_to_the_machine_itself():
    assert bad_checkout(success_url="http://localhost:8000/thanks?order={ORDER_ID}")().account_id == "a"
