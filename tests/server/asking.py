"""How tests ask a server: requests by the name of their RPC, and errors taken apart."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from scrip.v1 import (
    account_service_pb2,
    accounts_pb2,
    billing_service_pb2,
    credit_service_pb2,
    ledger_service_pb2,
    pricing_service_pb2,
)
from scrip.v1.account_service_pb2_grpc import AccountServiceStub
from scrip.v1.billing_service_pb2_grpc import BillingServiceStub
from scrip.v1.credit_service_pb2_grpc import CreditServiceStub
from scrip.v1.errors_pb2 import ErrorReason
from scrip.v1.ledger_service_pb2_grpc import LedgerServiceStub
from scrip.v1.pricing_service_pb2_grpc import PricingServiceStub
from scrip.v1.types_pb2 import SOURCE_PROMO, Memo, Usage

from ledger import utc_now
from server.config import Settings
from tests.books import request_id
from tests.running_server import RunningServer
from tests.server.contract import PROMISES

PATIENCE_S = 30
_MODULES = (
    credit_service_pb2,
    accounts_pb2,
    account_service_pb2,
    ledger_service_pb2,
    pricing_service_pb2,
    billing_service_pb2,
)
_STUBS = (CreditServiceStub, AccountServiceStub, LedgerServiceStub, PricingServiceStub, BillingServiceStub)
_USUAL = {
    "account_id": "acme",
    "source": SOURCE_PROMO,
    "to_account_id": "beta",
    "into_account_id": "beta",
    "spent": accounts_pb2.RevokeRequest.SPENT_OWE,
    "direction": accounts_pb2.AdjustRequest.DIRECTION_UP,
}
# The changes that name a part of an account, and the field that names it.
PARTS = {
    "IncreaseHold": "hold_id",
    "ExtendHold": "hold_id",
    "Capture": "hold_id",
    "Release": "hold_id",
    "Refund": "entry_id",
    "Revoke": "lot_id",
}
CHANGES = (
    "OpenAccount", "Grant", "CheckAndDeduct", "Hold", "Transfer", "UpdateAccount", "FreezeAccount", "UnfreezeAccount",
    "CloseAccount", "MergeAccounts", "Adjust", "WriteOff", *PARTS,
)  # fmt: skip
_WITH_AMOUNT = {"Grant", "Check", "CheckAndDeduct", "Hold", "IncreaseHold", "Transfer", "Adjust"}
_WITH_REASON = {"FreezeAccount", "Adjust", "WriteOff"}
_IN_2026_S = 1_767_225_600
_WITH_USAGE = {"Quote", "QuoteFor"}
# What CHAT costs by CHAT_CARD is 2 for each token.
CHAT = Usage(provider="openai", operation="chat", quantities={"token": 1})
CHAT_CARD = pricing_service_pb2.RateCard(
    card="chat",
    provider="openai",
    operations=["chat"],
    meters=[pricing_service_pb2.Meter(unit="token", rate="2")],
)
# gRPC's own clients take 8 KiB of headers for certain, and 64 bytes are enough for the names of the two that are ours.
HEADERS_BYTES_MAX = 8 * 1024 - 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An error as a caller gets it.

    fields          what BadRequest names
    retry_after_s   None without RetryInfo
    """

    code: str
    reason: str
    message: str
    metadata: Mapping[str, str]
    fields: tuple[str, ...]
    retry_after_s: float | None


class Asking:
    """A server and the stubs to ask it; a request lacks nothing but what a test says of it."""

    def __init__(self, target: str, channel: grpc.Channel, http_port: int = 0) -> None:
        self.target, self.channel, self.http_port = target, channel, http_port
        self._rpcs = {name: rpc for stub in _STUBS for name, rpc in vars(stub(channel)).items()}

    def __call__(self, rpc: str, **fields: Any) -> Any:
        """The response; raises grpc.RpcError."""
        return self._rpcs[rpc](request(rpc, **fields), timeout=PATIENCE_S)

    def later(self, rpc: str, *, timeout: float = PATIENCE_S, **fields: Any) -> Any:
        """The call, under way."""
        return self._rpcs[rpc].future(request(rpc, **fields), timeout=timeout)

    def stream(self, rpc: str, requests: Iterable[Message]) -> Iterator[Any]:
        """The responses to a stream of requests, as they come."""
        return self._rpcs[rpc](iter(requests), timeout=PATIENCE_S)

    def refusal(self, rpc: str, **fields: Any) -> Told:
        """The error that a request is answered with."""
        with pytest.raises(grpc.RpcError) as raised:
            self(rpc, **fields)
        refusal = told(raised.value)
        assert_readable(refusal.message)
        return refusal


def request(rpc: str, **fields: Any) -> Message:
    """A request that is good as far as the fields do not say otherwise; None leaves a field out."""
    module = next(module for module in _MODULES if hasattr(module, f"{rpc}Request"))
    kind = getattr(module, f"{rpc}Request")
    asked = {name: value for name, value in _USUAL.items() if name in kind.DESCRIPTOR.fields_by_name}
    if rpc in _WITH_AMOUNT:
        asked["amount"] = 1
    if rpc == "ExtendHold":
        asked["ttl"] = Duration(seconds=60)
    if rpc in _WITH_USAGE:
        asked["usage"] = CHAT
    if rpc == "GetRateCard":
        asked["card"] = CHAT_CARD.card
    if rpc == "RevenueReport":
        asked["since"] = Timestamp(seconds=_IN_2026_S)
    if rpc in _WITH_REASON:
        asked["memo"] = Memo(description="why", actor="who")
    if "request_id" in kind.DESCRIPTOR.fields_by_name and "request_id" not in fields:
        asked["request_id"] = request_id()
    return kind(**{name: value for name, value in {**asked, **fields}.items() if value is not None})


@contextmanager
def asking(url: str, clock: Callable[[], datetime] = utc_now, **settings: Any) -> Iterator[Asking]:
    """A server on these books, to be asked."""
    # Nothing is under way when a test ends, so nobody has to be told that the server stops.
    usual = {"listen": "127.0.0.1:0", "database": url, "linger_ms": 0, "sweep_s": 0, "drain_s": 0}
    chosen = Settings(**{**usual, **settings})
    with RunningServer(chosen, clock) as server:
        target = f"127.0.0.1:{server.port}"
        with grpc.insecure_channel(target) as channel:
            yield Asking(target, channel, server.http_port)


def told(error: grpc.RpcError) -> Told:
    """Takes an error apart, and insists on what the contract promises of all of them."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no details with {error.code().name}: {error.details()}"
    assert _headers_bytes(status) <= HEADERS_BYTES_MAX
    (info,) = _details(status, error_details_pb2.ErrorInfo)
    requests = _details(status, error_details_pb2.BadRequest)
    retries = _details(status, error_details_pb2.RetryInfo)
    code, metadata = error.code().name, dict(info.metadata)

    assert info.domain == "scrip"
    assert f"ERROR_REASON_{info.reason}" in ErrorReason.keys()  # noqa: SIM118 -- an enum of protobuf is no mapping
    assert code == PROMISES[info.reason].code
    assert len(status.details) == 1 + len(requests) + len(retries)
    assert len(requests) == (code == "INVALID_ARGUMENT")
    assert len(retries) == (code in {"RESOURCE_EXHAUSTED", "UNAVAILABLE"})
    assert_figures_are_in(metadata, status.message)
    return Told(
        code=code,
        reason=info.reason,
        message=status.message,
        metadata=metadata,
        fields=tuple(violation.field for bad in requests for violation in bad.field_violations),
        retry_after_s=retries[0].retry_delay.ToTimedelta().total_seconds() if retries else None,
    )


def assert_readable(message: str) -> None:
    """A sentence for a reader: it ends, and nothing was left out of it or left in."""
    assert message.endswith(".")
    assert "  " not in message
    assert not re.search(r"\bNone\b|[{}]", message)


def assert_figures_are_in(metadata: Mapping[str, str], message: str) -> None:
    """Every number of the message is in the metadata, so that no program has to read the message."""
    numbers = re.findall(r"-?\d+(?:\.\d+)?", message.replace("10^-", ""))
    assert [number for number in numbers if not any(number in value for value in metadata.values())] == []


def _details(status: status_pb2.Status, kind: type[Message]) -> list[Any]:
    found = []
    for detail in status.details:
        if detail.Is(kind.DESCRIPTOR):
            found.append(kind())
            detail.Unpack(found[-1])
    return found


def _headers_bytes(status: status_pb2.Status) -> int:
    """The message travels percent-encoded, the details in base64."""
    return len(quote(status.message, safe=" ")) + len(status.SerializeToString()) * 4 // 3
