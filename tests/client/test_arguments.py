from datetime import UTC, datetime, timedelta
from decimal import Decimal

import grpc
import pytest
import scrip

CHAT = scrip.Usage(provider="openai", operation="chat", quantities={"token": 1})


def card(**terms):
    return scrip.RateCard(**{"card": "gpt-5", "provider": "openai", "operations": ["chat"], **terms})


def package(client, **terms):
    return client.create_package("starter", **{"title": "Starter", "price": (1, "EUR"), "contents": [], **terms})


MISTAKES = {
    "an amount above int64": (
        lambda client: client.grant("acme", 2**63, "free"),
        "amount",
        "amount must be -9223372036854775808 to 9223372036854775807; it is 9223372036854775808.",
    ),
    "an amount as text": (
        lambda client: client.check_and_deduct("acme", "60"),
        "amount",
        "amount must be an int; it is '60'.",
    ),
    "an amount as a float": (
        lambda client: client.hold("acme", 60.0),
        "amount",
        "amount must be an int; it is 60.0.",
    ),
    "an amount that is a truth": (
        lambda client: client.capture("hd_1", True),
        "amount",
        "amount must be an int; it is True.",
    ),
    "a naive datetime": (
        lambda client: client.grant("acme", 1, "free", expires_at=datetime(2026, 2, 1)),  # noqa: DTZ001 -- the mistake
        "expires_at",
        "expires_at must have a time zone; 2026-02-01T00:00:00 has none.",
    ),
    "a date as text": (
        lambda client: client.grant("acme", 1, "free", effective_at="2026-02-01"),
        "effective_at",
        "effective_at must be a datetime; it is '2026-02-01'.",
    ),
    "a ttl in seconds": (
        lambda client: client.hold("acme", 1, ttl=60),
        "ttl",
        "ttl must be a timedelta; it is 60.",
    ),
    "a ttl of ages": (
        lambda client: client.hold("acme", 1, ttl=timedelta.max),
        "ttl",
        "ttl must be at most 315576000000 seconds; it is 999999999 days, 23:59:59.999999.",
    ),
    "two expiries": (
        lambda client: client.grant(
            "acme", 1, "free", expires_at=datetime(2026, 2, 1, tzinfo=UTC), ttl=timedelta(days=1)
        ),
        "ttl",
        "ttl must not be given together with expires_at.",
    ),
    "an unknown source": (
        lambda client: client.grant("acme", 1, "bonus"),
        "source",
        (
            "source must be one of free, promo, welcome, referral, lead, gift, purchase, subscription, adjustment; "
            "it is 'bonus'."
        ),
    ),
    "a priority above int32": (
        lambda client: client.grant("acme", 1, "free", priority=2**31),
        "priority",
        "priority must be -2147483648 to 2147483647; it is 2147483648.",
    ),
    "a cost without a currency": (
        lambda client: client.grant("acme", 1, "purchase", cost=1999),
        "cost",
        'cost must be minor units and currency, such as (1999, "EUR"); it is 1999.',
    ),
    "a cost in a fraction of cents": (
        lambda client: client.grant("acme", 1, "purchase", cost=(19.99, "EUR")),
        "cost.minor_units",
        "cost.minor_units must be an int; it is 19.99.",
    ),
    "no account": (
        lambda client: client.balance(None),
        "account_id",
        "account_id must be a str; it is None.",
    ),
    "an empty asset, which means all": (
        lambda client: client.balance("acme", asset=""),
        "asset",
        "asset must not be empty.",
    ),
    "a request_id that is a number": (
        lambda client: client.release("hd_1", request_id=7),
        "request_id",
        "request_id must be a str; it is 7.",
    ),
    "text that cannot be sent": (
        lambda client: client.open_account("acme", description="\ud800"),
        "memo.description",
        "memo.description must be text that UTF-8 can write.",
    ),
    "metadata with a number": (
        lambda client: client.open_account("acme", metadata={"order": 7}),
        "memo.metadata['order']",
        "memo.metadata['order'] must be a str; it is a int.",
    ),
    "metadata that is no mapping": (
        lambda client: client.open_account("acme", metadata=["order"]),
        "memo.metadata",
        "memo.metadata must be a mapping; it is a list.",
    ),
    "a preview that is no truth": (
        lambda client: client.transfer("acme", "bob", 1, preview=1),
        "preview",
        "preview must be True or False; it is 1.",
    ),
    "a capture that is final by a word": (
        lambda client: client.capture("hd_1", 1, final="no"),
        "final",
        "final must be True or False; it is 'no'.",
    ),
    "an unknown mode": (
        lambda client: client.check_and_deduct("acme", 1, mode="MODE_CLAMP"),
        "mode",
        "mode must be one of authorize, clamp, record; it is 'MODE_CLAMP'.",
    ),
    "an unknown kind of entry": (
        lambda client: client.history_page("acme", kinds=["deduct", "theft"]),
        "kinds",
        (
            "kinds must be one of open, grant, deduct, hold, capture, release, hold_lapse, lot_lapse, increase_hold, "
            "extend_hold, refund, revoke, adjust, write_off, transfer_out, transfer_in, merge_out, merge_in, freeze, "
            "unfreeze, close, update, roll_over; it is 'theft'."
        ),
    ),
    "one kind of entry for several": (
        lambda client: client.history_page("acme", kinds="deduct"),
        "kinds",
        "kinds must be a list; it is 'deduct'.",
    ),
    "one operation for a scope": (
        lambda client: client.grant("acme", 1, "free", scope="image/*"),
        "scope",
        "scope must be a list; it is 'image/*'.",
    ),
    "a scope with a number": (
        lambda client: client.grant("acme", 1, "free", scope=["image/*", 7]),
        "scope[1]",
        "scope[1] must be a str; it is 7.",
    ),
    "a limit that is a pair": (
        lambda client: client.update_account("acme", limits=[("daily", 100)]),
        "limits[0]",
        "limits[0] must be a scrip.SpendLimit; it is ('daily', 100).",
    ),
    "a limit of a week": (
        lambda client: client.update_account(
            "acme", limits=[scrip.SpendLimit(name="weekly", amount=100, window="week")]
        ),
        "limits[0].window",
        "limits[0].window must be hour, day, month or a timedelta; it is 'week'.",
    ),
    "a limit with a window in seconds": (
        lambda client: client.update_account("acme", limits=[scrip.SpendLimit(name="s", amount=100, window=60)]),
        "limits[0].window",
        "limits[0].window must be hour, day, month or a timedelta; it is 60.",
    ),
    "one limit for several": (
        lambda client: client.update_account("acme", limits=scrip.SpendLimit(name="s", amount=1, window="day")),
        "limits",
        "limits must be a list; it is SpendLimit(name='s', amount=1, window='day', operation='').",
    ),
    "metadata of an account with a number": (
        lambda client: client.update_account("acme", account_metadata={"plan": 7}),
        "account_metadata['plan']",
        "account_metadata['plan'] must be a str; it is a int.",
    ),
    "a welcome that is an amount": (
        lambda client: client.configure_asset("credits", welcome=50),
        "welcome",
        "welcome must be a scrip.Welcome; it is 50.",
    ),
    "a batch of numbers": (
        lambda client: client.batch([scrip.calls.release("hd_1"), 7]),
        "calls[1]",
        "calls[1] must be a change made by scrip.calls; it is 7.",
    ),
    "a batch with a call that changes nothing": (
        lambda client: client.batch([scrip.calls.release("hd_1"), scrip.calls.balance("acme")]),
        "calls[1]",
        "calls[1] must be a change made by scrip.calls; it is GetBalance.",
    ),
    "a batch of one call": (
        lambda client: client.batch(7),
        "calls",
        "calls must be a list; it is 7.",
    ),
    "neither an amount nor usage": (
        lambda client: client.check_and_deduct("acme"),
        "amount",
        "amount must be given, or usage instead of it.",
    ),
    "an amount and usage": (
        lambda client: client.hold("acme", 60, usage=CHAT),
        "usage",
        "usage must not be given together with amount.",
    ),
    "an amount and usage to capture": (
        lambda client: client.capture("hd_1", 0, usage=CHAT),
        "usage",
        "usage must not be given together with amount.",
    ),
    "usage that is a mapping": (
        lambda client: client.check("acme", usage={"provider": "openai"}),
        "usage",
        "usage must be a scrip.Usage; it is {'provider': 'openai'}.",
    ),
    "no usage to quote": (
        lambda client: client.quote(None),
        "usage",
        "usage must be a scrip.Usage; it is None.",
    ),
    "a quantity that is a fraction": (
        lambda client: client.quote(scrip.Usage(provider="a", operation="b", quantities={"second": 1.5})),
        "usage.quantities['second']",
        "usage.quantities['second'] must be an int; it is 1.5.",
    ),
    "a quantity above int64": (
        lambda client: client.quote(scrip.Usage(provider="a", operation="b", quantities={"token": 2**63})),
        "usage.quantities['token']",
        ("usage.quantities['token'] must be -9223372036854775808 to 9223372036854775807; it is 9223372036854775808."),
    ),
    "quantities without units": (
        lambda client: client.quote(scrip.Usage(provider="a", operation="b", quantities=[7])),
        "usage.quantities",
        "usage.quantities must be a mapping; it is a list.",
    ),
    "a dimension with a number": (
        lambda client: client.quote(scrip.Usage(provider="a", operation="b", dimensions={"seconds": 7})),
        "usage.dimensions['seconds']",
        "usage.dimensions['seconds'] must be a str; it is a int.",
    ),
    "one operation for several that are bundled": (
        lambda client: client.quote(scrip.Usage(provider="a", operation="b", bundled="search")),
        "usage.bundled",
        "usage.bundled must be a list; it is 'search'.",
    ),
    "a rate that is a float": (
        lambda client: client.apply_rate_cards([card(), card(meters=[scrip.Meter(unit="token", rate=0.1)])]),
        "cards[1].meters[0].rate",
        "cards[1].meters[0].rate must be a Decimal, an int or a str; it is 0.1.",
    ),
    "a rate that is a truth": (
        lambda client: client.apply_rate_cards([card(fixed=True)]),
        "cards[0].fixed",
        "cards[0].fixed must be a Decimal, an int or a str; it is True.",
    ),
    "one rate card for several": (
        lambda client: client.apply_rate_cards(scrip.Tier(rate=1)),
        "cards",
        "cards must be a list; it is Tier(rate=1, up_to=None).",
    ),
    "a rate card that is a name": (
        lambda client: client.apply_rate_cards(["gpt-5"]),
        "cards[0]",
        "cards[0] must be a scrip.RateCard; it is 'gpt-5'.",
    ),
    "a meter that is a pair": (
        lambda client: client.apply_rate_cards([card(meters=[("token", Decimal(1))])]),
        "cards[0].meters[0]",
        "cards[0].meters[0] must be a scrip.Meter; it is ('token', Decimal('1')).",
    ),
    "a tier that is a rate": (
        lambda client: client.apply_rate_cards([card(meters=[scrip.Meter(unit="token", tiers=[7])])]),
        "cards[0].meters[0].tiers[0]",
        "cards[0].meters[0].tiers[0] must be a scrip.Tier; it is 7.",
    ),
    "a tiering of no kind": (
        lambda client: client.apply_rate_cards([card(meters=[scrip.Meter(unit="token", tiering="tiered")])]),
        "cards[0].meters[0].tiering",
        "cards[0].meters[0].tiering must be one of graduated, volume; it is 'tiered'.",
    ),
    "a discount that is a percentage": (
        lambda client: client.apply_rate_cards([card(discount=10)]),
        "cards[0].discount",
        "cards[0].discount must be a scrip.Discount; it is 10.",
    ),
    "a discount until a day without a time zone": (
        lambda client: client.apply_rate_cards(
            [card(discount=scrip.Discount(percent=10, until=datetime(2026, 2, 1)))]  # noqa: DTZ001 -- the mistake
        ),
        "cards[0].discount.until",
        "cards[0].discount.until must have a time zone; 2026-02-01T00:00:00 has none.",
    ),
    "a period of a week": (
        lambda client: client.apply_rate_cards([card(period="week")]),
        "cards[0].period",
        "cards[0].period must be one of hour, day, month; it is 'week'.",
    ),
    "contents that are an amount": (
        lambda client: package(client, contents=[100]),
        "contents[0]",
        "contents[0] must be a scrip.PackageContent; it is 100.",
    ),
    "contents of no asset": (
        lambda client: package(client, contents=[scrip.PackageContent(credits=100, asset="")]),
        "contents[0].asset",
        "contents[0].asset must not be empty.",
    ),
    "a price without a currency": (
        lambda client: package(client, price=19.99),
        "price",
        'price must be minor units and currency, such as (1999, "EUR"); it is 19.99.',
    ),
    "contents of a plan that are those of a package": (
        lambda client: client.put_plan(
            "pro", title="Pro", stripe_prices=["price_1"], contents=[scrip.PackageContent(credits=1)]
        ),
        "contents[0]",
        (
            "contents[0] must be a scrip.PlanContent; it is PackageContent(credits=1, asset='credits', "
            "bonus_credits=0, validity=None, bonus_validity=None)."
        ),
    ),
    "a rollover that is a share": (
        lambda client: client.put_plan(
            "pro", title="Pro", stripe_prices=["price_1"], contents=[scrip.PlanContent(credits=1, rollover=50)]
        ),
        "contents[0].rollover",
        "contents[0].rollover must be a scrip.Rollover; it is 50.",
    ),
    "one price at Stripe for several": (
        lambda client: client.put_plan("pro", title="Pro", stripe_prices="price_1", contents=[]),
        "stripe_prices",
        "stripe_prices must be a list; it is 'price_1'.",
    ),
    "a checkout for two things": (
        lambda client: client.create_checkout(
            "acme", package="starter", plan="pro", success_url="https://a", cancel_url="https://a"
        ),
        "plan",
        "plan must not be given together with package.",
    ),
    "a consent that is a word": (
        lambda client: client.set_auto_recharge("acme", enabled=True, consent="yes"),
        "consent",
        "consent must be a scrip.Consent; it is 'yes'.",
    ),
    "an empty customer, which means all": (
        lambda client: client.orders_page(""),
        "account_id",
        "account_id must not be empty.",
    ),
    "a deadline of nothing": (
        lambda client: client.balance("acme", deadline_s=0),
        "deadline_s",
        "deadline_s must be more than 0 and finite; it is 0.",
    ),
}


@pytest.mark.parametrize(("do", "field", "message"), MISTAKES.values(), ids=MISTAKES)
def test_an_argument_that_no_request_can_carry_is_refused_without_a_call(way, script, target, *, do, field, message):
    with pytest.raises(scrip.InvalidField) as caught:
        way.ask(target, do)

    assert str(caught.value) == message
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.reason == scrip.ErrorReason.ERROR_REASON_INVALID_FIELD
    assert caught.value.field == field
    assert [violation.field for violation in caught.value.violations] == [field]
    assert script.asked == []


SETTINGS = {
    "no target": (lambda: {"target": ""}, "target must not be empty."),
    "a target that is a number": (lambda: {"target": 50051}, "target must be a str; it is 50051."),
    "a URL": (
        lambda: {"target": "http://127.0.0.1:50051"},
        "target must be a gRPC target such as 127.0.0.1:50051, not a URL; it is http://127.0.0.1:50051.",
    ),
    "no deadline": (lambda: {"deadline_s": None}, "deadline_s must be a number of seconds; it is None."),
    "a deadline never": (lambda: {"deadline_s": float("inf")}, "deadline_s must be more than 0 and finite; it is inf."),
    "a deadline of no number": (
        lambda: {"deadline_s": float("nan")},
        "deadline_s must be more than 0 and finite; it is nan.",
    ),
    "a token for credentials": (
        lambda: {"credentials": "secret"},
        "credentials must be grpc.ChannelCredentials; it is a str.",
    ),
    "one option": (
        lambda: {"channel_options": ("grpc.keepalive_time_ms", 60000)},
        "channel_options must be pairs, such as ('grpc.keepalive_time_ms', 60000).",
    ),
}


@pytest.mark.parametrize("make", [scrip.Client, scrip.AsyncClient])
@pytest.mark.parametrize(("settings", "message"), SETTINGS.values(), ids=SETTINGS)
def test_a_client_refuses_settings_that_cannot_work(make, settings, message):
    with pytest.raises(scrip.InvalidField) as caught:
        make(**settings())

    assert str(caught.value) == message
