from decimal import Decimal

import pytest
import scrip
from scrip.v1 import billing_service_pb2 as billing
from scrip.v1 import credit_service_pb2 as credit
from scrip.v1 import ledger_service_pb2 as ledger
from scrip.v1 import pricing_service_pb2 as pricing

from tests.client.examples import BALANCE, EXAMPLES, HOLD, LOT, NEWEST_FIRST, NOON, WRITTEN_NOON
from tests.client.examples_of_prices import MONEY, PRICES, USAGE
from tests.client.examples_of_sales import EVENT, OFFERS, ORDER, PAYMENTS

ALL = EXAMPLES | USAGE | PRICES | MONEY | OFFERS | PAYMENTS


@pytest.mark.parametrize(("do", "request_", "response", "answer"), ALL.values(), ids=ALL)
def test_a_call_sends_its_arguments_and_answers_with_the_message(
    way, script, target, *, do, request_, response, answer
):
    rpc = type(request_).__name__.removesuffix("Request")
    script.answer(rpc, response)

    answered = way.ask(target, do)

    assert answered == answer
    assert script.requests(rpc) == [request_]


@pytest.mark.parametrize("name", sorted(set(scrip.Source.keys()) - {"SOURCE_UNSPECIFIED"}))
def test_every_source_has_a_name_for_grants(way, script, target, name):
    script.answer("Grant", credit.GrantResponse())

    way.ask(target, lambda client: client.grant("acme", 1, name.removeprefix("SOURCE_").lower()))

    assert script.requests("Grant")[0].source == scrip.Source.Value(name)


@pytest.mark.parametrize(
    ("rate", "written"),
    [
        (Decimal("0.0125"), "0.0125"),
        (Decimal("1.50E+3"), "1500"),
        (Decimal("1E-18"), "0.000000000000000001"),
        (Decimal(-3), "-3"),
        (Decimal("1E+999999999"), "1E+999999999"),
        (Decimal("NaN"), "NaN"),
        (2**63 - 1, "9223372036854775807"),
        ("0.50", "0.50"),
        ("a lot", "a lot"),
        (None, ""),
    ],
)
def test_a_rate_is_sent_exactly_as_it_is_for_the_server_to_judge(script, target, rate, written):
    script.answer("ApplyRateCards", pricing.ApplyRateCardsResponse())
    card = scrip.RateCard(card="any", provider="*", operations=["*"], fixed=rate)

    with scrip.Client(target) as client:
        client.apply_rate_cards([card])

    assert script.requests("ApplyRateCards")[0].cards[0].fixed == written


@pytest.mark.parametrize("name", sorted(set(scrip.Entry.Kind.keys()) - {"KIND_UNSPECIFIED"}))
def test_every_kind_of_entry_has_a_name_for_the_history(script, target, name):
    script.answer("History", credit.HistoryResponse())

    with scrip.Client(target) as client:
        client.history_page("acme", kinds=[name.removeprefix("KIND_").lower()])

    assert script.requests("History")[0].kinds == [scrip.Entry.Kind.Value(name)]


def test_a_change_without_a_request_id_gets_one_of_its_own(script, target):
    script.answer("CheckAndDeduct", *[credit.CheckAndDeductResponse()] * 3)

    with scrip.Client(target) as client:
        for _ in range(3):
            client.check_and_deduct("acme", 1)

    request_ids = {request.request_id for request in script.requests("CheckAndDeduct")}
    assert len(request_ids) == 3
    assert "" not in request_ids


def test_a_checkout_without_a_request_id_gets_one_of_its_own(script, target):
    script.answer("CreateCheckout", *[billing.CreateCheckoutResponse()] * 2)

    with scrip.Client(target) as client:
        for _ in range(2):
            client.create_checkout("acme", package="starter", success_url="https://a", cancel_url="https://a")

    request_ids = {request.request_id for request in script.requests("CreateCheckout")}
    assert len(request_ids) == 2
    assert "" not in request_ids


def test_every_call_has_a_deadline(way, script, target):
    script.answer("GetBalance", credit.GetBalanceResponse(balances=[BALANCE]))

    way.ask(target, lambda client: client.balance("acme"))

    assert 3 < script.asked[0].seconds_left < 5.5


def test_a_client_may_have_another_deadline_and_a_call_again_another(way, script, target):
    script.answer("GetBalance", *[credit.GetBalanceResponse(balances=[BALANCE])] * 2)

    way.ask(target, lambda client: client.balance("acme"), deadline_s=50)
    way.ask(target, lambda client: client.balance("acme", deadline_s=20), deadline_s=50)

    assert [round(asked.seconds_left, -1) for asked in script.asked] == [50, 20]


def test_an_audit_is_given_time(way, script, target):
    script.answer("Audit", ledger.AuditResponse())

    way.ask(target, lambda client: client.audit())

    assert script.asked[0].seconds_left > 500


@pytest.mark.parametrize("name", ["create a checkout for a plan", "checkout", "replay an event of Stripe", "reconcile"])
def test_what_asks_stripe_is_given_time(script, target, name):
    do, request_, response, _ = PAYMENTS[name]
    script.answer(type(request_).__name__.removesuffix("Request"), response)

    with scrip.Client(target) as client:
        do(client)

    assert script.asked[0].seconds_left > 25


def test_history_goes_through_all_pages_newest_first(way, script, target):
    entries = [scrip.Entry(entry_id=f"en_{n}", seq=n) for n in (5, 4, 3, 2, 1)]
    script.answer(
        "History",
        credit.HistoryResponse(entries=entries[:2], next_page_token="a"),
        credit.HistoryResponse(entries=entries[2:4], next_page_token="b"),
        credit.HistoryResponse(entries=entries[4:]),
    )

    found = way.walk(target, lambda client: client.history("acme", asset="calls", page_size=2, deadline_s=4))

    assert found == entries
    assert script.requests("History") == [
        credit.HistoryRequest(account_id="acme", asset="calls", page_size=2, page_token=token, order=NEWEST_FIRST)
        for token in ("", "a", "b")
    ]
    assert all(asked.seconds_left < 4.5 for asked in script.asked)


def test_history_keeps_its_filters_from_page_to_page(way, script, target):
    script.answer("History", credit.HistoryResponse(next_page_token="a"), credit.HistoryResponse())

    way.walk(target, lambda client: client.history("acme", kinds=["grant"], reference="order-7", order="oldest_first"))

    first, second = script.requests("History")
    assert second.page_token == "a"
    second.page_token = ""
    assert first == second
    assert (first.kinds, first.reference) == ([scrip.Entry.KIND_GRANT], "order-7")
    assert first.order == credit.HistoryRequest.ORDER_OLDEST_FIRST


def test_lots_go_through_all_pages_even_an_empty_one(way, script, target):
    script.answer(
        "ListLots",
        credit.ListLotsResponse(lots=[LOT], next_page_token="a"),
        credit.ListLotsResponse(next_page_token="b"),
        credit.ListLotsResponse(lots=[LOT]),
    )

    found = way.walk(target, lambda client: client.lots("acme", include_empty=True, as_of=NOON, page_size=1))

    assert found == [LOT, LOT]
    assert script.requests("ListLots") == [
        credit.ListLotsRequest(
            account_id="acme", asset="credits", include_empty=True, as_of=WRITTEN_NOON, page_size=1, page_token=token
        )
        for token in ("", "a", "b")
    ]


def test_holds_go_through_all_pages(way, script, target):
    script.answer(
        "ListHolds",
        credit.ListHoldsResponse(holds=[HOLD], next_page_token="a"),
        credit.ListHoldsResponse(holds=[HOLD]),
    )

    found = way.walk(target, lambda client: client.holds("acme", state="lapsed", page_size=1))

    assert found == [HOLD, HOLD]
    assert script.requests("ListHolds") == [
        credit.ListHoldsRequest(
            account_id="acme",
            asset="credits",
            state=scrip.ListedHold.STATE_LAPSED,
            page_size=1,
            page_token=token,
        )
        for token in ("", "a")
    ]


def test_orders_go_through_all_pages(way, script, target):
    script.answer(
        "ListOrders",
        billing.ListOrdersResponse(orders=[ORDER], next_page_token="a"),
        billing.ListOrdersResponse(orders=[ORDER]),
    )

    found = way.walk(target, lambda client: client.orders("acme", page_size=1))

    assert found == [ORDER, ORDER]
    assert script.requests("ListOrders") == [
        billing.ListOrdersRequest(account_id="acme", page_size=1, page_token=token) for token in ("", "a")
    ]


def test_events_of_stripe_go_through_all_pages(way, script, target):
    script.answer(
        "ListStripeEvents",
        billing.ListStripeEventsResponse(events=[EVENT], next_page_token="a"),
        billing.ListStripeEventsResponse(events=[EVENT]),
    )

    found = way.walk(target, lambda client: client.stripe_events(state="applied", page_size=1))

    assert found == [EVENT, EVENT]
    assert script.requests("ListStripeEvents") == [
        billing.ListStripeEventsRequest(state=scrip.StripeEvent.STATE_APPLIED, page_size=1, page_token=token)
        for token in ("", "a")
    ]


def test_history_asks_for_a_page_only_when_it_is_needed(script, target):
    page = credit.HistoryResponse(entries=[scrip.Entry(seq=2), scrip.Entry(seq=1)], next_page_token="a")
    script.answer("History", page)

    with scrip.Client(target) as client:
        newest = next(client.history("acme"))

    assert newest.seq == 2
    assert len(script.asked) == 1


def test_an_account_without_entries_has_an_empty_history(way, script, target):
    script.answer("History", credit.HistoryResponse())

    assert way.walk(target, lambda client: client.history("acme")) == []


def test_a_page_may_be_larger_than_four_mebibytes(way, script, target):
    long = scrip.Entry(memo=scrip.Memo(description="x" * 500))
    script.answer("History", credit.HistoryResponse(entries=[long] * 20_000))

    assert len(way.walk(target, lambda client: client.history("acme"))) == 20_000
