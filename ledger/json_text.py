"""JSON as the books write it."""

import json
from typing import Any, Final

# Compact, and with letters as they are. The encoder is made once: json.dumps would make one for each text.
as_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def whole(value: Any) -> int:  # noqa: ANN401 -- whatever JSON may be
    """The value, which must be a whole number; else raises TypeError."""
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value
