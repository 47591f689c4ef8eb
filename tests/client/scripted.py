"""A server that answers what a test told it to, and remembers what it was asked."""

import contextlib
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from scrip.v1 import account_service_pb2_grpc as account
from scrip.v1 import billing_service_pb2_grpc as billing
from scrip.v1 import credit_service_pb2_grpc as credit
from scrip.v1 import ledger_service_pb2_grpc as ledger
from scrip.v1 import pricing_service_pb2_grpc as pricing

STREAMS = {"BulkGrant"}
SERVICES = (
    (credit.CreditServiceServicer, credit.add_CreditServiceServicer_to_server),
    (account.AccountServiceServicer, account.add_AccountServiceServicer_to_server),
    (ledger.LedgerServiceServicer, ledger.add_LedgerServiceServicer_to_server),
    (pricing.PricingServiceServicer, pricing.add_PricingServiceServicer_to_server),
    (billing.BillingServiceServicer, billing.add_BillingServiceServicer_to_server),
)


class Asked(NamedTuple):
    """One attempt as it arrived: the name of the RPC, the request, and the seconds that were left for it."""

    rpc: str
    request: Any
    seconds_left: float


class Script:
    """What the server is to answer, and what it was asked.

    asked     each attempt, and each request of a stream
    streams   how many streams there were
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.streams = 0
        self._answers: dict[str, deque[Any]] = defaultdict(deque)

    def answer(self, rpc: str, *answers: Message | grpc.Status | Callable[[Any], Message]) -> None:
        """Answer the next calls of an RPC so, in this order: a response, an error, or a function of the request."""
        self._answers[rpc].extend(answers)

    def requests(self, rpc: str) -> list[Any]:
        return [asked.request for asked in self.asked if asked.rpc == rpc]

    def rpcs(self) -> list[str]:
        return [asked.rpc for asked in self.asked]

    def handle_stream(self, rpc: str, requests: Iterator[Message], context: grpc.ServicerContext) -> Iterator[Message]:
        """Let the next answer, a function of the requests, say what to respond; an error ends the stream with it."""
        self.streams += 1
        if not self._answers[rpc]:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"The test did not say what {rpc} answers.")
        for answer in self._answers[rpc].popleft()(self._noted(rpc, requests, context)):
            if isinstance(answer, grpc.Status):
                context.abort_with_status(answer)
            yield answer

    def _noted(self, rpc: str, requests: Iterator[Message], context: grpc.ServicerContext) -> Iterator[Message]:
        for request in requests:
            self.asked.append(Asked(rpc, request, context.time_remaining()))
            yield request

    def handle(self, rpc: str, request: Message, context: grpc.ServicerContext) -> Message:
        self.asked.append(Asked(rpc, request, context.time_remaining()))
        if not self._answers[rpc]:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"The test did not say what {rpc} answers.")
        answer = self._answers[rpc].popleft()
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, grpc.Status):
            context.abort_with_status(answer)
        return answer


class Slow:
    """An answer that is worked on until the test lets it finish."""

    def __init__(self, answer: Message) -> None:
        self._answer = answer
        self._begun = threading.Event()
        self._finished = threading.Event()

    def __call__(self, _request: Message) -> Message:
        self._begun.set()
        self._finished.wait(10)
        return self._answer

    def has_begun(self) -> None:
        """Wait until the request has arrived."""
        assert self._begun.wait(10)

    def finish(self) -> None:
        self._finished.set()


def _servicer(base: type, script: Script) -> Any:
    def handler(rpc: str) -> Callable[..., Message]:
        handle = script.handle_stream if rpc in STREAMS else script.handle
        return lambda _self, request, context: handle(rpc, request, context)

    return type("Scripted", (base,), {rpc: handler(rpc) for rpc in vars(base) if not rpc.startswith("_")})()


@contextlib.contextmanager
def serving(script: Script, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> Iterator[str]:
    """Serve what the script says; gives the address."""
    with ThreadPoolExecutor(8) as threads:
        server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
        for base, add in SERVICES:
            add(_servicer(base, script), server)
        address = f"127.0.0.1:{port}"
        bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        server.start()
        try:
            yield f"127.0.0.1:{bound}"
        finally:
            server.stop(grace=None).wait()


def error(
    code: grpc.StatusCode,
    reason: str = "",
    message: str = "It was not done.",
    *details: Message,
    domain: str = "scrip",
    **metadata: str,
) -> grpc.Status:
    """Make an error as the contract has it; without a reason, one that carries no ErrorInfo."""
    if reason:
        details = (error_details_pb2.ErrorInfo(domain=domain, reason=reason, metadata=metadata), *details)
    packed = []
    for detail in details:
        wrapped = AnyMessage()
        wrapped.Pack(detail)
        packed.append(wrapped)
    return rpc_status.to_status(status_pb2.Status(code=code.value[0], message=message, details=packed))


UNAVAILABLE = error(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE", "The database did not confirm this.")
