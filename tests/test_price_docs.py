"""docs/pricing.md: the files it shows are files, and their examples come out as it says."""

import re
from pathlib import Path

import pytest

from server.price_file import read_price_file

PAGE = (Path(__file__).parent.parent / "docs" / "pricing.md").read_text(encoding="utf-8")
# By the heading under which they stand.
SHOWN = [
    (section.splitlines()[0], block)
    for section in re.split(r"^#+ ", PAGE, flags=re.MULTILINE)
    for block in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
]


def test_every_kind_of_price_is_shown():
    kinds = PAGE.split("\n## Kinds\n")[1].split("\n## ")[0]

    shown = {heading for heading, _ in SHOWN}
    assert set(re.findall(r"^### (.*)$", kinds, re.MULTILINE)) <= shown
    assert {"Which card counts", "Rounding"} <= shown


@pytest.mark.parametrize(("heading", "block"), SHOWN)
def test_the_examples_on_the_page_come_out_as_it_says(tmp_path, heading, block):
    path = tmp_path / "shown.yaml"
    path.write_text(block, encoding="utf-8")

    tried = read_price_file(path).tried("")

    assert tried
    assert [one for one, found in tried if not one.agrees(found)] == []
