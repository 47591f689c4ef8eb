"""A browser, and a shop to visit with it."""

import os
import shutil

import pytest
from google.protobuf.duration_pb2 import Duration
from playwright.sync_api import sync_playwright
from scrip.v1.billing_service_pb2 import PackageContent

from ledger import utc_now
from tests.postgres import free_port
from tests.server.paying import paying

PHONE = {"width": 360, "height": 640}


@pytest.fixture(scope="module")
def chromium():
    """Debian's chromium, without a window. Ends with the module, because it keeps an event loop in this thread."""
    if os.environ.get("SCRIP_TEST_BROWSER") == "none":
        pytest.skip("SCRIP_TEST_BROWSER is none")
    path = shutil.which("chromium")
    if path is None:
        pytest.fail(
            "These tests need chromium: run `make browser` as root, or install it (Debian: apt-get install chromium). "
            "SCRIP_TEST_BROWSER=none leaves them out."
        )
    # Its sandbox does not start for root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(params=["with JavaScript", "without JavaScript"])
def page(chromium, request):
    """A page that complains about nothing, on a phone."""
    with_scripts = request.param == "with JavaScript"
    context = chromium.new_context(viewport=PHONE, java_script_enabled=with_scripts)
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    # That there is no page, or no icon, is no complaint about what a page has.
    assert [text for text in complaints if not text.startswith("Failed to load resource")] == []


@pytest.fixture
def shop(sqlite_url):
    """A server that sells two packages; the stand-in for Stripe sends webhooks when it is told to."""
    address = f"127.0.0.1:{free_port()}"
    with paying(sqlite_url, utc_now, http_listen=address, public_url=f"http://{address}") as shop:
        bonus = PackageContent(credits=1_000, bonus_credits=100, bonus_validity=Duration(seconds=30 * 86_400))
        shop.sell("small", title="Small pack", description="For a first try.", contents=[bonus])
        shop.sell("large", title="Large pack", contents=[PackageContent(credits=100_000)], sort_order=1)
        shop.ask("OpenAccount")
        yield shop
