"""The purchase page as customers use it: with a thumb, with a keyboard alone, with eyes that need contrast."""

import re

import pytest
from playwright.sync_api import expect

from tests.fake_stripe import Fault

PATIENCE_MS = 30_000
# As WCAG 2 asks of text (1.4.3), and of what can be pressed (2.5.5).
CONTRAST_MIN = 4.5
TARGET_PX_MIN = 44
BUY_SMALL = "Buy Small pack for 19.99 EUR"


@pytest.fixture(autouse=True)
def patient():
    expect.set_options(timeout=PATIENCE_MS)


def visit(shop, page, account_id="acme"):
    page.goto(shop.ask("CreatePurchaseLink", account_id=account_id).url)


def test_a_customer_buys_with_the_keyboard_alone(shop, page):
    # The page must wait for the webhook, because it cannot ask Stripe.
    shop.stripe.faults.append(Fault(429, path="/v1/checkout/sessions/cs_", times=1_000))
    visit(shop, page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name=BUY_SMALL)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Pay 1999 eur")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("your credits are on their way")
    expect(page.locator("dd")).to_have_text("0")

    shop.hear(shop.stripe.world.events)

    # The page looks again by itself.
    expect(page.get_by_role("status")).to_contain_text("Payment received. Your credits are there.")
    expect(page.locator("dd")).to_have_text("1,100")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Buy credits")).to_be_visible()
    expect(page.locator("dd")).to_have_text("1,100")


def test_a_customer_who_comes_back_before_the_webhook_need_not_wait_for_it(shop, page):
    visit(shop, page)
    page.get_by_role("button", name=BUY_SMALL).click()
    page.get_by_role("button", name="Pay").click()

    expect(page.get_by_role("status")).to_contain_text("Payment received. Your credits are there.")
    expect(page.locator("dd")).to_have_text("1,100")

    shop.hear(shop.stripe.world.events, copies=2, shuffled=1)
    page.reload()
    expect(page.locator("dd")).to_have_text("1,100")


def test_a_customer_who_turns_back_is_at_the_packages_again(shop, page):
    visit(shop, page)
    page.get_by_role("button", name=BUY_SMALL).click()
    page.get_by_role("link", name="Cancel").click()

    expect(page.get_by_role("button", name=BUY_SMALL)).to_be_visible()


def test_a_double_click_makes_one_order(shop, page):
    visit(shop, page)

    page.get_by_role("button", name=BUY_SMALL).dblclick()

    expect(page.get_by_role("heading", name="Pay 1999 eur")).to_be_visible()
    assert len(shop.ask("ListOrders").orders) == 1


def test_nothing_is_wider_than_a_phone(shop, page):
    long = "Supercalifragilisticexpialidocious" * 2
    for package in ("small", "large"):
        shop.ask("DeactivatePackage", package=package)
    shop.sell("long", title=long, description=long * 5)
    shop.ask("OpenAccount", account_id="x" * 128)
    for where in ("visit", "wait", "notice"):
        if where == "visit":
            visit(shop, page, account_id="x" * 128)
        elif where == "wait":
            page.get_by_role("button").click()
            page.get_by_role("button", name="Pay").click()
            expect(page.get_by_role("status")).to_be_visible()
        else:
            page.goto(f"http://127.0.0.1:{shop.ask.http_port}/buy/nonsense")
        box = page.locator("html").bounding_box()
        assert page.evaluate("document.documentElement.scrollWidth") <= box["width"] == 360


def test_what_can_be_pressed_is_large_enough_for_a_thumb(shop, page):
    visit(shop, page)

    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert min(box["width"], box["height"]) >= TARGET_PX_MIN


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_by_day_and_by_night(shop, page, scheme):
    page.emulate_media(color_scheme=scheme)
    visit(shop, page)

    paper = page.locator("body")
    ratios = {
        name: contrast(css(text, "color"), css(ground, "background-color"))
        for name, text, ground in (
            ("text", paper, paper),
            ("soft", page.locator("p.soft").first, paper),
            ("button", page.get_by_role("button").first, page.get_by_role("button").first),
        )
    }

    assert {name: ratio for name, ratio in ratios.items() if ratio < CONTRAST_MIN} == {}


def css(locator, name):
    return locator.evaluate("(element, name) => getComputedStyle(element).getPropertyValue(name)", name)


def contrast(one, other):
    """As WCAG 2 defines it."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_whoever_uses_the_keyboard_sees_where_he_is(shop, page):
    visit(shop, page)

    page.keyboard.press("Tab")

    focused = page.get_by_role("button", name=BUY_SMALL)
    expect(focused).to_be_focused()
    assert (css(focused, "outline-style"), css(focused, "outline-width")) == ("solid", "3px")


def test_the_page_is_styled_although_it_may_load_nothing(shop, page):
    visit(shop, page)

    assert css(page.locator("main"), "max-width") == "640px"
