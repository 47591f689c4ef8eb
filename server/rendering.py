"""Answers with a page: the templates in `pages`, and the headers that keep a page to itself."""

import base64
import hashlib
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

_STYLE: Final = resources.files("server").joinpath("pages/style.css").read_text(encoding="utf-8")
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


class Pages:
    """Makes pages of templates.

    public_url   where they are
    """

    def __init__(self, public_url: str) -> None:
        loader = PackageLoader("server", "pages")
        self._environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        self._environment.globals["style"] = _STYLE
        # Browsers take the payment page, to which the answer to a form leads, for the form's own. If it has no TLS,
        # it is on the machine itself, as this page then is.
        schemes = "https: http:" if public_url.startswith("http:") else "https:"
        self.headers: Final = {
            "Content-Security-Policy": (
                f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self' {schemes}; "
                "base-uri 'none'; frame-ancestors 'none'"
            ),
            # The address of a page is the right to see it.
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }

    def page(self, template: str, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 -- what the template shows
        """A page."""
        text = self._environment.get_template(template).render(values)
        return HTMLResponse(text, status, self.headers)

    def notice(self, status: int, heading: str, *lines: str, shop: str = "") -> Response:
        """A page that says something and what to do about it.

        shop   where the packages are; empty: no way back
        """
        return self.page("notice.html", status, heading=heading, lines=lines, shop=shop)
