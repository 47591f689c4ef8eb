"""The reference: a Scrip server in every setting, except that CheckAndDeduct does nothing and answers at once.

    python -m benchmarks.echo serve --listen 127.0.0.1:0

What it does per second is the most that any service written in this way could do on this machine.
"""

from typing import Any, Final

from scrip.v1.credit_service_pb2 import CheckAndDeductRequest, CheckAndDeductResponse
from scrip.v1.types_pb2 import Balance

from server.__main__ import main
from server.credit_service import CreditService

# As long as a real one.
ANSWER: Final = CheckAndDeductResponse(
    entry_id="en_ekz3nexbnbgdfg7r3fb3cj2kmuaq",
    balance=Balance(account_id="c-000000", asset="credits", available=999_999_999_999),
)


async def check_and_deduct(_self: CreditService, _request: CheckAndDeductRequest, _context: Any) -> Any:  # noqa: ANN401
    return ANSWER


if __name__ == "__main__":
    setattr(CreditService, "CheckAndDeduct", check_and_deduct)  # noqa: B010 -- to a type checker it is a method
    main()
