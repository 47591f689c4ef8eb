"""The page where customers buy: what it shows, what it orders, and what it says when something is wrong."""

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import urlencode, urlsplit

import pytest

from ledger import (
    AccountName,
    DatabaseUnavailableError,
    DisputeSeen,
    DisputeStatus,
    Grant,
    Money,
    NotPaid,
    OpenAccount,
    Paid,
    PlaceHold,
    Reason,
    Refused,
    Source,
)
from ledger.sales.payment import Payment
from server.errors import RefusedError
from server.purchase_page import LOOKS_MAX
from tests.books import ACME, START, request_id
from tests.server.shop import SMALL, open_shop

TOKENS = AccountName(tenant=ACME.tenant, account_id="acme", asset="tokens")
FORM = {"Content_Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def open_(sqlite_url, quiet):
    with open_shop(sqlite_url) as open_:
        yield open_


def words(answer):
    """What a page says, without its tags."""
    body = answer.text.partition("<main>")[2]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body))).strip()


def forms(answer):
    """What each button of a page sends."""
    found = re.findall(r"<form.*?</form>", answer.text, re.DOTALL)
    return [dict(re.findall(r'name="(\w+)" value="([^"]+)"', form)) for form in found]


def buy(open_, path, **fields):
    form = {**forms(open_.ask("GET", path))[0], **fields}
    return open_.ask("POST", path, urlencode(form).encode(), **FORM)


def bought(open_, path):
    """The order that the first button makes."""
    answer = buy(open_, path)
    assert answer.status == 303
    return answer.headers["location"].rpartition("/")[2]


# What is shown.


def test_the_page_shows_what_there_is_and_what_it_costs(open_):
    answer = open_.ask("GET", open_.path())

    assert answer.status == 200
    said = words(answer)
    assert "For account acme" in said
    assert "Your balance credits none yet" in said
    assert "Small pack For a first try. 1,000 credits 100 credits as a bonus, good for 30 days" in said
    assert "Buy Small pack for 19.00 EUR" in said
    assert "Large pack 100,000 credits, good for 365 days 2.5 tokens Buy Large pack for 15,000 JPY" in said


def test_the_page_shows_the_balance_in_the_scale_of_each_asset(open_):
    for account, amount in ((ACME, 1_234), (TOKENS, 2_500_000)):
        open_.ledger.execute(OpenAccount(request_id=request_id(), account=account))
        open_.ledger.execute(Grant(request_id=request_id(), account=account, amount=amount, source=Source.PROMO))
    open_.ledger.execute(PlaceHold(request_id=request_id(), account=ACME, amount=34, ttl=timedelta(hours=1)))

    said = words(open_.ask("GET", open_.path()))

    assert "Your balance credits 1,200 credits, held for what is under way 34 tokens 2.5 Packages" in said


def test_a_link_for_one_asset_shows_that_asset_alone(open_):
    open_.ledger.execute(OpenAccount(request_id=request_id(), account=ACME))

    said = words(open_.ask("GET", open_.path(asset="tokens")))

    assert "Your balance tokens none yet" in said
    assert "Large pack" in said
    assert "Small pack" not in said


def test_a_shop_without_packages_says_so(open_):
    open_.shop.on_sale = ()

    assert "Nothing is on sale at the moment." in words(open_.ask("GET", open_.path()))


def test_what_sellers_and_customers_write_stays_text(open_):
    evil = '<script>alert("1")</script>\'"&'
    open_.shop.on_sale = (replace(SMALL, title=evil, description=evil),)

    answer = open_.ask("GET", open_.path(account_id=evil))

    assert "<script" not in answer.text
    assert words(answer).count(evil) == 4


def test_a_page_keeps_to_itself(open_):
    path = open_.path()
    for answer in (open_.ask("GET", path), open_.ask("GET", "/buy/nonsense"), buy(open_, path)):
        policy = answer.headers["content-security-policy"].split("; ")
        assert policy[0] == "default-src 'none'"
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in str(policy)
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


class Outline(HTMLParser):
    """Tags in their order, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_a_page_can_be_read_aloud(open_):
    order = bought(open_, path := open_.path())
    pages = [open_.ask("GET", where) for where in (path, f"{path}/done?order={order}", "/buy/nonsense")]
    for page in pages:
        tags = Outline(page.text).tags
        names = [tag for tag, _ in tags]
        levels = [int(tag[1]) for tag in names if re.fullmatch(r"h\d", tag)]

        assert dict(tags)["html"] == {"lang": "en"}
        assert names.count("main") == names.count("title") == names.count("h1") == 1
        assert levels[0] == 1
        assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
        assert "script" not in names
    buttons = re.findall(r"<button[^>]*>(.*?)</button>", pages[0].text)
    assert len(set(buttons)) == len(buttons) == 2


def test_what_opens_a_page_is_not_logged(sqlite_url, logged):
    with open_shop(sqlite_url) as open_:
        path = open_.path()
        order = bought(open_, path)
        open_.ask("GET", f"{path}/done?order={order}")
        open_.shop.breaks = ValueError("a bug")
        answer = open_.ask("GET", path)

    assert answer.status == 500
    assert [event["event"] for event in logged].count("http") == 4
    assert path.rpartition("/")[2] not in str(logged)


# What is ordered.


def test_a_button_makes_an_order_and_leads_to_where_it_is_paid(open_):
    path = open_.path()

    answer = buy(open_, path)

    ((order_id, order),) = open_.shop.orders.items()
    assert (answer.status, answer.headers["location"]) == (303, f"https://pay.example.com/{order_id}")
    assert (order.tenant, order.account_id, order.package) == ("default", "acme", "small")
    assert order.asked.success_url == f"{open_.ask.url}{path}/done?order={{ORDER_ID}}"
    assert order.asked.cancel_url == open_.ask.url + path


def test_a_form_that_is_sent_twice_makes_one_order(open_):
    path = open_.path()
    form = urlencode(forms(open_.ask("GET", path))[0]).encode()

    first, second = (open_.ask("POST", path, form, **FORM) for _ in range(2))

    assert first.headers["location"] == second.headers["location"]
    assert len(open_.shop.orders) == 1


def test_each_package_each_page_and_each_link_makes_an_order_of_its_own(open_):
    path, other = open_.path(), open_.path()
    one, two = forms(open_.ask("GET", path))

    for where, form in ((path, one), (path, two), (path, forms(open_.ask("GET", path))[0]), (other, one)):
        open_.ask("POST", where, urlencode(form).encode(), **FORM)

    assert one["nonce"] == two["nonce"]
    assert len(open_.shop.orders) == 4


def test_a_form_whose_order_is_paid_leads_to_that_order(open_):
    path = open_.path()
    form = urlencode(forms(open_.ask("GET", path))[0]).encode()
    order = open_.ask("POST", path, form, **FORM).headers["location"].rpartition("/")[2]
    open_.shop.pay(order)

    answer = open_.ask("POST", path, form, **FORM)

    assert (answer.status, answer.headers["location"]) == (303, f"{open_.ask.url}{path}/done?order={order}")


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"package=small",
        b"package=small&nonce=",
        b"package=small&nonce=short",
        b"package=small&nonce=" + b"x" * 65,
        b"package=small&nonce=" + b"%0a" * 20,
        b"nonce=" + b"x" * 20,
        b"package=&nonce=" + b"x" * 20,
        b"package=Not+A+Name&nonce=" + b"x" * 20,
        b"\xff\xfe" * 20,
        b'{"package": "small"}',
    ],
)
def test_a_form_that_lacks_something_orders_nothing(open_, form):
    answer = open_.ask("POST", open_.path(), form, **FORM)

    assert answer.status == 400
    assert "This page did not send what it should. Please go back." in words(answer)
    assert open_.shop.orders == {}


def test_a_form_that_is_too_large_orders_nothing(open_):
    answer = open_.ask("POST", open_.path(), b"package=small&nonce=" + b"x" * 5_000, **FORM)

    assert answer.status == 413
    assert open_.shop.orders == {}


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (
            RefusedError(Refused(reason=Reason.STRIPE_UNAVAILABLE, figures={"stripe_message": "swordfish"})),
            409,
            "The payment service does not answer at the moment. Nothing was charged. Please try again in a minute.",
        ),
        (
            RefusedError(Refused(reason=Reason.STRIPE_REFUSED, figures={"stripe_message": "swordfish"})),
            409,
            "This cannot be bought at the moment. Nothing was charged.",
        ),
        (
            DatabaseUnavailableError("swordfish"),
            503,
            "We cannot answer right now. Nothing was charged. Please try again in a minute.",
        ),
        (ZeroDivisionError("swordfish"), 500, "Please try again, or tell us of it. Its number is"),
    ],
)
def test_what_does_not_work_is_said_politely_and_nothing_of_the_inside(open_, error, status, said):
    path = open_.path()
    form = urlencode(forms(open_.ask("GET", path))[0]).encode()
    open_.shop.breaks = error

    answer = open_.ask("POST", path, form, **FORM)

    assert answer.status == status
    assert said in words(answer)
    assert "swordfish" not in answer.text
    assert f'href="{open_.ask.url}{path}"' in answer.text


def test_a_package_that_is_not_on_sale_any_more_is_said_to_be_so(open_):
    path = open_.path()
    form = urlencode(forms(open_.ask("GET", path))[0]).encode()
    open_.shop.on_sale = ()

    answer = open_.ask("POST", path, form, **FORM)

    assert answer.status == 409
    assert "This package is not on sale any more. Please choose another one." in words(answer)


# Links.


@pytest.mark.parametrize("end", ["", "/done?order=or_1"])
def test_a_link_that_was_changed_is_a_page_that_says_what_to_do(open_, end):
    answer = open_.ask("GET", open_.path()[:-1] + "!" + end)

    assert answer.status == 404
    assert "This link does not work It may have been cut off." in words(answer)


@pytest.mark.parametrize("end", ["", "/done?order=or_1"])
def test_a_link_that_has_expired_is_a_page_that_says_what_to_do(open_, end):
    path = open_.path(ttl=timedelta(minutes=1))
    open_.clock.now += timedelta(minutes=1)

    answer = open_.ask("GET", path + end)

    assert answer.status == 410
    assert "This link has expired Please go back to where you found it, and ask for another." in words(answer)


def test_nothing_is_ordered_by_a_link_that_does_not_work(open_):
    path = open_.path(ttl=timedelta(minutes=1))
    form = urlencode(forms(open_.ask("GET", path))[0]).encode()
    open_.clock.now += timedelta(minutes=1)

    assert open_.ask("POST", path, form, **FORM).status == 410
    assert open_.ask("POST", "/buy/nonsense", form, **FORM).status == 404
    assert open_.shop.orders == {}


@pytest.mark.parametrize("path", ["/buy", "/buy/", "/buy/a/b", "/buy/a/done/", "/buy/..%2fmetrics"])
def test_there_is_no_other_page(open_, path):
    assert open_.ask("GET", path).status == 404


# Coming back.


def test_a_customer_who_comes_back_waits_for_the_payment_and_then_sees_the_new_balance(open_):
    order = bought(open_, path := open_.path())

    waiting = open_.ask("GET", f"{path}/done?order={order}")
    open_.shop.pay(order)
    there = open_.ask("GET", f"{path}/done?order={order}&look=1")

    assert "your credits are on their way" in words(waiting)
    assert refresh(waiting) == (1, f"order={order}&look=1")
    assert "Payment received. Your credits are there. Your balance credits 1,100" in words(there)
    assert refresh(there) is None


def test_a_payment_that_is_received_is_said_to_be_before_its_credits_are_there(open_):
    order = bought(open_, path := open_.path())
    open_.shop.change(order, payment=Payment(paid=Paid(money=SMALL.price, livemode=False, at=START)))

    answer = open_.ask("GET", f"{path}/done?order={order}")

    assert "Payment received. Your credits are on their way." in words(answer)
    assert refresh(answer) is not None


def refresh(answer):
    """After how many seconds a page looks again, and what for; None: it does not."""
    found = re.search(r'<meta http-equiv="refresh" content="(\d+); url=([^"]+)">', answer.text)
    return None if found is None else (int(found[1]), urlsplit(unescape(found[2])).query)


def test_a_page_looks_again_ever_more_rarely_and_not_for_ever(open_):
    order = bought(open_, path := open_.path())
    pauses, query = [], f"order={order}"
    while query is not None:
        answer = open_.ask("GET", f"{path}/done?{query}")
        pause, query = refresh(answer) or (None, None)
        pauses.append(pause)

    assert pauses == [1, 2, 3, 4, *[5] * (LOOKS_MAX - 4), None]
    assert "It takes longer than usual." in words(answer)
    assert ">Look again</a>" in answer.text


@pytest.mark.parametrize("look", ["", "-1", "1e9", "9" * 5_000, "٣", "x"])
def test_how_often_a_page_has_looked_is_taken_from_its_address_with_care(open_, look):
    order = bought(open_, path := open_.path())

    answer = open_.ask("GET", f"{path}/done?{urlencode({'order': order, 'look': look})}")

    assert answer.status == 200


@pytest.mark.parametrize(
    ("payment", "said"),
    [
        (Payment(not_paid=NotPaid(why="expired", is_final=True, at=START)), "Not paid This order was not paid."),
        (
            Payment(paid=Paid(money=Money(minor_units=1, currency="EUR"), livemode=False, at=START)),
            "Payment received, but not as it was ordered.",
        ),
        (
            Payment(paid=Paid(money=SMALL.price, livemode=False, at=START), refunded_in_all=1_900),
            "Refunded The money for this order went back to you.",
        ),
        (
            Payment(paid=Paid(money=SMALL.price, livemode=False, at=START), refunded_in_all=900),
            "Partly refunded Some of the money",
        ),
        (
            Payment(
                paid=Paid(money=SMALL.price, livemode=False, at=START),
                disputes=(DisputeSeen(dispute="du_1", amount=1_900, status=DisputeStatus.OPEN, at=START),),
            ),
            "In dispute Your bank is looking into this payment.",
        ),
    ],
)
def test_an_order_is_told_as_it_stands(open_, payment, said):
    order = bought(open_, path := open_.path())
    open_.shop.change(order, payment=payment, granted=True)

    answer = open_.ask("GET", f"{path}/done?order={order}")

    assert said in words(answer)
    assert refresh(answer) is None


@pytest.mark.parametrize("query", ["", "?order=", "?order=or_nothing", "?order={ORDER_ID}"])
def test_an_order_that_there_is_not_is_said_not_to_be(open_, query):
    answer = open_.ask("GET", f"{open_.path()}/done{query}")

    assert answer.status == 404
    assert "There is no such order here." in words(answer)


def test_the_order_of_another_customer_is_not_shown(open_):
    order = bought(open_, open_.path("beta"))

    mine = open_.ask("GET", f"{open_.path('acme')}/done?order={order}")
    nobodys = open_.ask("GET", f"{open_.path('acme')}/done?order=or_nothing")

    assert mine.status == 404
    assert words(mine) == words(nobodys)
