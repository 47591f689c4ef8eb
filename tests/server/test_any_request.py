"""Whatever a request says, it gets an answer or an error with a reason, never a bug, and the books stay right."""

from collections import Counter

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st
from scrip.v1 import credit_service_pb2, ledger_service_pb2

from tests.books import Clock
from tests.conftest import ENGINES, audited
from tests.server.asking import PATIENCE_S, asking, request, told
from tests.server.books import Books

SERVICES = [
    credit_service_pb2.DESCRIPTOR.services_by_name["CreditService"],
    ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"],
]
RPCS = [rpc for service in SERVICES for rpc in service.methods]

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
    "<open_hold>",
    "<entry>",
    "<page_token>",
]
ODD_TEXTS = ["", "\0", "\n", " ", "ä", "😀", "\u202e", "'", "%", "{}", "a" * 64, "a" * 129, "😀" * 501]
TEXTS = st.sampled_from(NAMES) | st.sampled_from(ODD_TEXTS) | st.text(max_size=10)
# Without digits: those of a key are no figures of an error.
KEYS = st.sampled_from(["", "k", "k" * 41, "\0", "😀" * 40])


def scalars(field: FieldDescriptor) -> st.SearchStrategy:
    return {
        FieldDescriptor.TYPE_STRING: TEXTS,
        FieldDescriptor.TYPE_INT32: INT32S,
        FieldDescriptor.TYPE_INT64: INT64S,
        FieldDescriptor.TYPE_ENUM: st.integers(-1, 12),
    }[field.type]


@st.composite
def messages(draw, kind) -> Message:
    """A message of a kind, anything in its fields, some left out."""
    message = GetMessageClass(kind)()
    for field in draw(st.lists(st.sampled_from(list(kind.fields)), unique=True)) if kind.fields else ():
        if field.message_type is None:
            setattr(message, field.name, draw(scalars(field)))
        elif field.message_type.GetOptions().map_entry:
            getattr(message, field.name).update(draw(st.dictionaries(KEYS, TEXTS, max_size=25)))
        else:
            getattr(message, field.name).CopyFrom(draw(messages(field.message_type)))
    return message


@st.composite
def calls(draw) -> tuple[str, Message]:
    """The path of an RPC and a request that is good but for some of its fields."""
    rpc = draw(st.sampled_from(RPCS))
    message = request(rpc.name, **({"hold_id": "<open_hold>"} if rpc.name in {"Capture", "Release"} else {}))
    odd = draw(messages(rpc.input_type))
    names = [field.name for field, _ in odd.ListFields()]
    for name in draw(st.lists(st.sampled_from(names), max_size=2)) if names else ():
        message.ClearField(name)
        message.MergeFrom(type(odd)(**{name: getattr(odd, name)}))
    return f"/{rpc.containing_service.full_name}/{rpc.name}", message


@pytest.fixture(scope="module", params=ENGINES)
def books(request, tmp_path_factory):
    """Books that may change."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('any') / 'scrip.db'}"
    else:
        url = request.getfixturevalue("postgres").create_database()
    clock = Clock()
    with audited(url), asking(url, clock) as ask:
        yield Books.written(url, ask, clock)


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
    for name in ("hold_id", "entry_id", "page_token"):
        if getattr(message, name, "").startswith("<"):
            setattr(message, name, getattr(books, getattr(message, name).strip("<>"), "<"))
    try:
        books.ask.channel.unary_unary(path)(message.SerializeToString(), timeout=PATIENCE_S)
    except grpc.RpcError as error:
        return told(error).reason
    return "OK"
