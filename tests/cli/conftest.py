"""The command, in an empty directory and without settings of whoever runs the tests."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from server.__main__ import main
from tests.server.asking import asking

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("SCRIP_") and not name.startswith("SCRIP_TEST_"):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def price_file(empty_directory):
    """Writes a file of prices; gives back its name."""

    def write(text: str) -> str:
        (empty_directory / "prices.yaml").write_text(text, encoding="utf-8")
        return "prices.yaml"

    return write


@pytest.fixture
def run() -> Run:
    """The command with these arguments; variables by their names.

    Not `serve` and `migrate`: they set up the log, for as long as their process lives.
    """

    def run(*arguments: str, **variables: Any) -> Result:
        return CliRunner().invoke(main, arguments, env=variables, catch_exceptions=False)

    return run


@pytest.fixture
def ask(sqlite_url, clock):
    """A server on empty books."""
    with asking(sqlite_url, clock) as ask:
        yield ask


@pytest.fixture
def scrip(run, ask) -> Run:
    """The command, asking that server."""
    return lambda *arguments: run(*arguments, SCRIP_SERVER=ask.target)
