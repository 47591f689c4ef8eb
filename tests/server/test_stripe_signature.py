"""Only who knows a secret of the webhook may post to it, and only what was signed a moment ago."""

from datetime import UTC, datetime, timedelta

import pytest

from server.stripe_signature import TOLERANCE, SignatureError, check_signature
from tests.fake_stripe import signature

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
BODY = b'{"id": "evt_1"}'
SECRETS = ("whsec_one", "whsec_two")


@pytest.mark.parametrize("secret", SECRETS)
def test_each_of_the_secrets_is_good(secret):
    check_signature(BODY, signature(BODY, secret, NOW_S), SECRETS, NOW)


def test_one_good_signature_among_others_is_enough():
    at, _, good = signature(BODY, "whsec_one", NOW_S).partition(",")

    check_signature(BODY, f"{at},v1={'0' * 64},{good},v0=nonsense", SECRETS, NOW)


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (BODY, signature(BODY, "whsec_three", NOW_S)),
        (BODY + b" ", signature(BODY, "whsec_one", NOW_S)),
        (b"", signature(BODY, "whsec_one", NOW_S)),
        (BODY, signature(BODY, "whsec_one", NOW_S).replace(str(NOW_S), str(NOW_S + 1))),
        (BODY, signature(BODY, "whsec_one", NOW_S).replace("v1=", "v0=")),
        (BODY, signature(BODY, "whsec_one", NOW_S).upper()),
        (BODY, signature(BODY, "whsec_one", NOW_S).replace("v1=", "v1=ä")),
        (BODY, ""),
        (BODY, "t=,v1="),
        (BODY, f"t={NOW_S}"),
        (BODY, f"t={NOW_S},t={NOW_S},v1=0"),
        (BODY, "t=-1,v1=0"),
        (BODY, f"t={'9' * 100},v1=0"),
        (BODY, "nonsense"),
    ],
)
def test_what_nobody_who_knows_a_secret_has_signed_is_refused(body, header):
    with pytest.raises(SignatureError):
        check_signature(body, header, SECRETS, NOW)


def test_without_a_secret_nothing_is_good():
    with pytest.raises(SignatureError):
        check_signature(BODY, signature(BODY, "", NOW_S), (), NOW)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_signature_is_good_for_five_minutes(sign):
    header = signature(BODY, "whsec_one", NOW_S)

    check_signature(BODY, header, SECRETS, NOW + sign * TOLERANCE)
    with pytest.raises(SignatureError, match="too long ago, or in the future"):
        check_signature(BODY, header, SECRETS, NOW + sign * (TOLERANCE + timedelta(microseconds=1)))
