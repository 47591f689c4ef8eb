"""Figures that an error was told, as its attributes."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Generic, Protocol, Self, TypeVar, overload

T = TypeVar("T")


class _Told(Protocol):
    """An error with what the server said beside its message."""

    @property
    def metadata(self) -> Mapping[str, str]: ...


class Said(Generic[T]):
    """A figure that the server said: the error's metadata under the attribute's own name.

    Raises AttributeError where the server did not say it, against the contract.
    """

    def __init__(self, read: Callable[[str], T]) -> None:
        self._read = read
        self._name = ""

    def __set_name__(self, owner: type[_Told], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, error: None, owner: type[_Told]) -> Self: ...
    @overload
    def __get__(self, error: _Told, owner: type[_Told]) -> T: ...
    def __get__(self, error: _Told | None, owner: type[_Told]) -> Self | T:
        if error is None:
            return self
        said = error.metadata.get(self._name)
        return self._absent(owner) if said is None else self._read(said)

    def _absent(self, owner: type[_Told]) -> T:
        raise AttributeError(f"The server did not say {self._name} with this {owner.__name__}.")


class MaySay(Said[T]):
    """As Said, but with another value where the server did not say it, as the contract allows."""

    def __init__(self, read: Callable[[str], T], otherwise: T) -> None:
        super().__init__(read)
        self._otherwise = otherwise

    def _absent(self, owner: type[_Told]) -> T:  # noqa: ARG002 -- absent is absent, whoever owns it
        return self._otherwise


def instant(said: str) -> datetime:
    found = datetime.fromisoformat(said)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def names(said: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in said.split(",") if name.strip())
