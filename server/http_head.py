"""The head of a request: what of it no server should take."""

from typing import Final

from starlette.types import Scope

# What comes bit by bit is refused by the protocol once it is longer; what comes at once, here.
HEAD_BYTES_MAX: Final = 16 * 1024


def wrong_head(scope: Scope) -> str | None:
    """What is wrong with a head; None if nothing is."""
    names = {name for name, _ in scope["headers"]}
    length = len(scope["raw_path"]) + len(scope["query_string"])
    # Each header has a colon, a space and the end of its line besides.
    length += sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    if length > HEAD_BYTES_MAX:
        return f"The head may have {HEAD_BYTES_MAX} bytes at most.\n"
    if {b"content-length", b"transfer-encoding"} <= names:
        # Whatever stands in front may see another end of the body, and so another request after it.
        return "A request has either Content-Length or Transfer-Encoding.\n"
    return None
