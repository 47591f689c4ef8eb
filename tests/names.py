"""What the rows of a law call things: entries, holds and lots by the names that the law gave them."""

import re

from tests.asked import Account, Written
from tests.grammar import ScenarioError

UNKNOWN = 999
_NUMBERED = re.compile(r"(.*)#(\d+)")


class Names:
    """Who is called what. A change gives its name to its entry, its hold and its lots."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[Account, int]] = {}
        self._lots: dict[tuple[Account, int], str] = {}

    def give(self, name: str, account: Account, written: Written) -> None:
        if name in self._entries:
            raise ScenarioError(f"{name} is the name of something else")
        self._entries[name] = account, written.number
        self._lots.update({(account, number): name for number in written.made})

    def pass_on(self, account: Account, given: list[int], other: Account, received: tuple[int, ...]) -> None:
        """Lots that move keep their names."""
        for lot, number in zip(given, received, strict=True):
            self._lots[other, number] = self._lots.get((account, lot), f"#{lot}")

    def of(self, part: str, name: str) -> tuple[Account, int]:
        """Whose hold, entry or lot it is, and which."""
        if numbered := _NUMBERED.fullmatch(name):
            return Account(numbered[1] or "acme"), int(numbered[2])
        if part == "lot":
            found = next((found for found, called in self._lots.items() if called == name), None)
        else:
            found = self._entries.get(name)
        return found or (Account("acme"), UNKNOWN)

    def lot(self, account: Account, number: int) -> str:
        return self._lots.get((account, number), f"#{number}")

    def entry(self, account: Account, number: int) -> str:
        return next((name for name, found in self._entries.items() if found == (account, number)), f"#{number}")
