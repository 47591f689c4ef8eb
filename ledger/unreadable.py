"""Values in the database that the ledger never writes: which column has one."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Row

from ledger.charges import charge_of
from ledger.chart import Code, Source
from ledger.model import AccountStatus, EntryKind, HeldLots, HoldState
from ledger.rows import drawn_of, made_of, metadata_of, terms_of

# Whatever it takes to read a value, or to reckon with it, fails with one of these if it is not of its kind.
UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

_READERS: Final[Mapping[str, Mapping[str, Callable[[Any], object]]]] = {
    "accounts": {"status": AccountStatus, "terms": terms_of},
    "entries": {
        "kind": EntryKind,
        "made": made_of,
        "metadata": metadata_of,
        "charge": lambda text: charge_of(json.loads(text)),
    },
    "lines": {"debit": Code, "credit": Code},
    "lots": {"source": Source},
    "holds": {"state": HoldState, "held_lots": HeldLots, "drawn": drawn_of},
}


def unreadable_column(table: str, row: Row[Any]) -> str:
    """The first column with a value that cannot be read, as the end of "a value in"; a row that cannot be read."""
    for column, read in _READERS[table].items():
        value = getattr(row, column)
        try:
            if value is not None:
                read(value)
        except UNREADABLE:
            return f"column {column} of {table}"
    return f"its row of {table}"
