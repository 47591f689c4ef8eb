"""Who posts to the webhook: Stripe signs what it sends with a secret that only it and this server know."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

# As much as Stripe's own libraries allow; longer, and what somebody once overheard could be sent again.
TOLERANCE: Final = timedelta(minutes=5)
_INSTANT: Final = re.compile(r"[0-9]{1,10}")


class SignatureError(Exception):
    """Who sent this is not who knows the secret; or it was signed long ago."""


def check_signature(payload: bytes, header: str, secrets: Sequence[str], now: datetime) -> None:
    """Raises SignatureError unless one of the secrets has signed exactly these bytes, not long before now.

    header    `t=…,v1=…`: seconds since 1970, and signatures; while secrets change, there are several
    """
    parts = [part.partition("=") for part in header.split(",")]
    instants = [value for name, _, value in parts if name.strip() == "t"]
    given = [value.strip() for name, _, value in parts if name.strip() == "v1"]
    if len(instants) != 1 or not _INSTANT.fullmatch(instants[0]) or not given:
        raise SignatureError("The header Stripe-Signature must have t and v1.")
    signed = f"{instants[0]}.".encode() + payload
    wanted = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode() for secret in secrets]
    # Bytes, because compare_digest refuses texts that are not ASCII.
    if not any(hmac.compare_digest(one, other.encode()) for one in wanted for other in given):
        raise SignatureError("The signature does not fit the body and the webhook's secret.")
    if abs(now - datetime.fromtimestamp(int(instants[0]), UTC)) > TOLERANCE:
        raise SignatureError("It was signed too long ago, or in the future.")
