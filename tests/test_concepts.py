"""What the documentation promises to tell of all, it tells of all; its links lead somewhere."""

import re
from pathlib import Path

import pytest
from scrip.v1.credit_service_pb2 import BatchOperation

ROOT = Path(__file__).parent.parent
CONCEPTS = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "examples" / "README.md"])


def test_the_lines_of_every_operation_are_shown():
    table = CONCEPTS.split("## What each operation writes")[1].split("## ")[0]
    shown = set(re.findall(r"\w+", " ".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))))

    changes = [field.message_type.name.removesuffix("Request") for field in BatchOperation.DESCRIPTOR.fields]

    assert [name for name in changes if name not in shown] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for place, heading in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        target = page.parent / place if place else page
        assert target.exists(), f"{place} is not there"
        if heading:
            assert heading in headings(target), f"{place}#{heading} is not there"


def headings(page):
    """As a browser names them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
