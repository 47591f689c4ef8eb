"""A link opens one page for one customer, for a while, and nobody else can make one."""

import base64
import json
from datetime import timedelta

import jwt
import pytest

from server.purchase_links import ExpiredLinkError, UnknownLinkError, new_link, page_url, read_link, token_of
from tests.books import MICROSECOND, SECOND, START

SECRET = "a secret that nobody would guess in time"
HOUR = timedelta(hours=1)
LINK = new_link(tenant="default", account_id="acme", asset="credits", link_id="l-1", ttl=HOUR, now=START)
CLAIMS = jwt.decode(token_of(LINK, secret=SECRET), options={"verify_signature": False})


def signed(algorithm="HS256", secret=SECRET, **claims):
    chosen = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode(chosen, secret, algorithm=algorithm)


def part(claims):
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("account_id", ["acme", "a/b?c#d", "acme & söhne", "x" * 255])
def test_a_link_says_who_may_buy_what(account_id):
    link = new_link(tenant="default", account_id=account_id, link_id="l-2", ttl=HOUR, now=START)

    token = token_of(link, secret=SECRET)

    assert read_link(token, secret=SECRET, now=START) == link
    assert token.isascii()
    assert not set(token) & set("/?#&=+%")
    assert page_url("https://pay.example.com", token) == f"https://pay.example.com/buy/{token}"


def test_a_link_is_good_until_its_expiry_and_no_longer():
    token = token_of(LINK, secret=SECRET)

    assert read_link(token, secret=SECRET, now=START + HOUR - MICROSECOND) == LINK
    with pytest.raises(ExpiredLinkError):
        read_link(token, secret=SECRET, now=START + HOUR)


def test_a_link_is_good_for_whole_seconds():
    link = new_link(tenant="default", account_id="acme", link_id="l-2", ttl=SECOND, now=START + 999_999 * MICROSECOND)

    assert link.expires_at == START + SECOND


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nonsense",
        "a.b.c",
        token_of(LINK, secret=SECRET)[:-1],
        token_of(LINK, secret=SECRET) + "a",
        token_of(LINK, secret=SECRET).swapcase(),
        signed(secret="another secret that nobody would guess"),
        signed(algorithm="HS512", secret=SECRET * 2),
        signed(aud="scrip/other"),
        signed(aud=None),
        signed(iss="somebody"),
        signed(iss=None),
        signed(exp=None),
        signed(jti=None),
        signed(tenant=None),
        signed(account_id=None),
        signed(asset=None),
        f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(CLAIMS)}.",
        f"{part({'alg': 'None'})}.{part(CLAIMS)}.",
    ],
)
def test_what_was_not_given_out_here_is_no_link(token):
    with pytest.raises(UnknownLinkError):
        read_link(token, secret=SECRET, now=START)


def test_a_link_whose_customer_was_changed_is_none():
    head, _, signature = token_of(LINK, secret=SECRET).split(".")

    with pytest.raises(UnknownLinkError):
        read_link(".".join((head, part({**CLAIMS, "account_id": "beta"}), signature)), secret=SECRET, now=START)
