from datetime import UTC, datetime, timedelta

import grpc
import pytest
import scrip

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
