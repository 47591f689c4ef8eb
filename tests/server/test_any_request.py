"""Whatever a request says, it gets an answer or an error with a reason, never a bug, and the books stay right."""

from collections import Counter

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st
from scrip.v1 import (
    account_service_pb2,
    billing_service_pb2,
    credit_service_pb2,
    ledger_service_pb2,
    pricing_service_pb2,
)
from scrip.v1.credit_service_pb2 import BatchOperation

from tests.books import Clock
from tests.conftest import ENGINES, audited
from tests.server.asking import PARTS, PATIENCE_S, asking, request, told
from tests.server.books import Books

SERVICES = [
    credit_service_pb2.DESCRIPTOR.services_by_name["CreditService"],
    account_service_pb2.DESCRIPTOR.services_by_name["AccountService"],
    ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"],
    pricing_service_pb2.DESCRIPTOR.services_by_name["PricingService"],
    billing_service_pb2.DESCRIPTOR.services_by_name["BillingService"],
]
RPCS = [rpc for service in SERVICES for rpc in service.methods if not rpc.client_streaming]

INT32S = st.sampled_from([0, 1, -1, 18, 19, 500, 1_000_000_000, 2**31 - 1, -(2**31)]) | st.integers(-(2**31), 2**31 - 1)
INT64S = st.sampled_from([0, 1, -1, 100, 1_767_225_670, 2**63 - 1, -(2**63)]) | st.integers(-(2**63), 2**63 - 1)
# Good names and ids, so that not everything is refused for its form; <…> stands for one that only the books know.
NAMES = [
    "acme",
    "beta",
    "nobody",
    "credits",
    "tokens",
    "points",
    "grant",
    "hold",
    "daily",
    "image/generate",
    "image/*",
    "Europe/Berlin",
    "openai",
    "chat",
    "*",
    "0.0125",
    "<open_hold>",
    "<entry>",
    "<deduction>",
    "<lot>",
    "<page_token>",
]
# Whose account may become unusable.
SPARE = {"FreezeAccount": "spare", "CloseAccount": "spare", "MergeAccounts": "spare"}
SEVERAL_MAX = 3
ODD_TEXTS = ["", "\0", "\n", " ", "ä", "😀", "\u202e", "'", "%", "{}", "a" * 64, "a" * 129, "😀" * 501]
TEXTS = st.sampled_from(NAMES) | st.sampled_from(ODD_TEXTS) | st.text(max_size=10)
# Without digits: those of a key are no figures of an error.
KEYS = st.sampled_from(["", "k", "token", "k" * 41, "\0", "😀" * 40])


def scalars(field: FieldDescriptor) -> st.SearchStrategy:
    return {
        FieldDescriptor.TYPE_STRING: TEXTS,
        FieldDescriptor.TYPE_INT32: INT32S,
        FieldDescriptor.TYPE_INT64: INT64S,
        FieldDescriptor.TYPE_ENUM: st.integers(-1, 23),
        FieldDescriptor.TYPE_BOOL: st.booleans(),
    }[field.type]


@st.composite
def messages(draw, kind) -> Message:
    """A message of a kind, anything in its fields, some left out."""
    message = GetMessageClass(kind)()
    for field in draw(st.lists(st.sampled_from(list(kind.fields)), unique=True)) if kind.fields else ():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            values = scalars(field.message_type.fields_by_name["value"])
            getattr(message, field.name).update(draw(st.dictionaries(KEYS, values, max_size=25)))
            continue
        values = scalars(field) if field.message_type is None else messages(field.message_type)
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values, max_size=SEVERAL_MAX)))
        elif field.message_type is None:
            setattr(message, field.name, draw(values))
        else:
            getattr(message, field.name).CopyFrom(draw(values))
    return message


@st.composite
def changed(draw, rpc) -> Message:
    """A request that is good but for some of its fields."""
    message = request(rpc.name, **_needed(rpc.name))
    odd = draw(messages(rpc.input_type))
    names = [field.name for field, _ in odd.ListFields()]
    for name in draw(st.lists(st.sampled_from(names), max_size=2)) if names else ():
        message.ClearField(name)
        message.MergeFrom(type(odd)(**{name: getattr(odd, name)}))
    return message


@st.composite
def calls(draw) -> tuple[str, Message]:
    """The path of an RPC and a request; a batch is one of such requests."""
    rpc = draw(st.sampled_from(RPCS))
    message = draw(changed(rpc))
    if rpc.name == "Batch":
        for _ in range(draw(st.integers(1, SEVERAL_MAX))):
            name, of = draw(st.sampled_from(sorted(IN_BATCH.items())))
            message.operations.append(BatchOperation(**{name: draw(changed(of))}))
    return f"/{rpc.containing_service.full_name}/{rpc.name}", message


IN_BATCH = {
    field.name: rpc
    for field in BatchOperation.DESCRIPTOR.fields
    for rpc in RPCS
    if rpc.input_type is field.message_type
}


def _needed(rpc: str) -> dict[str, str]:
    named = {"hold_id": "<open_hold>", "entry_id": "<deduction>", "lot_id": "<lot>"}
    needed = {PARTS[rpc]: named[PARTS[rpc]]} if rpc in PARTS else {}
    return {**needed, "account_id": SPARE[rpc]} if rpc in SPARE else needed


@pytest.fixture(scope="module", params=ENGINES)
def books(request, tmp_path_factory):
    """Books that may change."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('any') / 'scrip.db'}"
    else:
        url = request.getfixturevalue("postgres").create_database()
    clock = Clock()
    with audited(url), asking(url, clock) as ask:
        books = Books.written(url, ask, clock)
        ask("OpenAccount", account_id="spare")
        yield books


def test_any_request_is_answered_or_refused_with_a_reason(books):
    outcomes = Counter()

    @settings(max_examples=300)
    @given(calls())
    def ask(call):
        outcomes[_outcome(books, *call)] += 1

    ask()

    assert "INTERNAL" not in outcomes
    # Else the requests would all be refused for the same, and show little.
    assert outcomes["OK"] > 50
    assert len(outcomes) > 6


def _outcome(books: Books, path: str, message: Message) -> str:
    _name_parts(books, message)
    for operation in getattr(message, "operations", ()):
        if name := operation.WhichOneof("operation"):
            _name_parts(books, getattr(operation, name))
    try:
        books.ask.channel.unary_unary(path)(message.SerializeToString(), timeout=PATIENCE_S)
    except grpc.RpcError as error:
        return told(error).reason
    return "OK"


def _name_parts(books: Books, message: Message) -> None:
    for name in ("hold_id", "entry_id", "lot_id", "page_token"):
        if getattr(message, name, "").startswith("<"):
            setattr(message, name, getattr(books, getattr(message, name).strip("<>"), "<"))
