"""The conventions of the contract, read from its descriptors; comments and style are for `buf lint`."""

from collections import Counter

import pytest
from google.protobuf.descriptor import FieldDescriptor
from scrip.v1 import (
    account_service_pb2,
    accounts_pb2,
    billing_service_pb2,
    credit_service_pb2,
    errors_pb2,
    ledger_service_pb2,
    pricing_service_pb2,
    types_pb2,
)

FILES = (
    credit_service_pb2, account_service_pb2, ledger_service_pb2, pricing_service_pb2, billing_service_pb2, accounts_pb2,
    types_pb2, errors_pb2,
)  # fmt: skip
SERVICES = [service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()]
RPCS = [pytest.param(rpc, id=rpc.name) for service in SERVICES for rpc in service.methods]
MESSAGES = [message for file in FILES for message in file.DESCRIPTOR.message_types_by_name.values()]
CHANGES = {
    "OpenAccount", "Grant", "CheckAndDeduct", "Hold", "IncreaseHold", "ExtendHold", "Capture", "Release", "Refund",
    "Transfer", "UpdateAccount", "FreezeAccount", "UnfreezeAccount", "CloseAccount", "MergeAccounts", "Revoke",
    "Adjust", "WriteOff",
}  # fmt: skip
# They make an order instead of an entry.
ORDERING = {"CreateCheckout"}
STREAMS = {"BulkGrant"}
CHANGING = [pytest.param(rpc.values[0], id=rpc.id) for rpc in RPCS if rpc.id in CHANGES]


def field_types(message) -> dict[str, str]:
    """The fields with the names of their types."""
    types = {
        FieldDescriptor.TYPE_STRING: "string",
        FieldDescriptor.TYPE_BOOL: "bool",
        FieldDescriptor.TYPE_INT32: "int32",
    }
    return {
        field.name: field.message_type.name if field.message_type else types.get(field.type, "other")
        for field in message.fields
    }


@pytest.mark.parametrize("rpc", RPCS)
def test_every_rpc_has_a_request_and_a_response_of_its_own(rpc):
    used = Counter(message.values[0].input_type for message in RPCS) + Counter(m.values[0].output_type for m in RPCS)

    assert (rpc.input_type.name, rpc.output_type.name) == (f"{rpc.name}Request", f"{rpc.name}Response")
    assert used[rpc.input_type] == used[rpc.output_type] == 1
    assert rpc.client_streaming == rpc.server_streaming == (rpc.name in STREAMS)


def test_every_change_is_known_here():
    assert {rpc.values[0].name for rpc in CHANGING} == CHANGES
    named = {rpc.id for rpc in RPCS if "request_id" in rpc.values[0].input_type.fields_by_name}
    assert named == CHANGES | ORDERING


@pytest.mark.parametrize("rpc", CHANGING)
def test_every_change_has_a_request_id_and_a_memo_and_answers_with_its_entry(rpc):
    request, response = field_types(rpc.input_type), field_types(rpc.output_type)

    assert request.items() >= {"request_id": "string", "memo": "Memo", "preview": "bool"}.items()
    assert rpc.input_type.fields_by_number[1].name == "request_id"
    assert response.items() >= {"entry_id": "string", "balance": "Balance", "replayed": "bool"}.items()


@pytest.mark.parametrize("rpc", [pytest.param(rpc.values[0], id=rpc.id) for rpc in RPCS if rpc.id in ORDERING])
def test_every_order_has_a_request_id_and_says_if_it_was_there(rpc):
    assert rpc.input_type.fields_by_number[1].name == "request_id"
    assert field_types(rpc.output_type) == {"order": "Order", "replayed": "bool"}


def test_what_can_be_charged_is_an_amount_or_usage():
    charged = [
        message for message in MESSAGES if "usage" in message.fields_by_name and "amount" in message.fields_by_name
    ]

    assert {message.name for message in charged} == {
        "CheckRequest", "CheckAndDeductRequest", "HoldRequest", "CaptureRequest", "Charge",
    }  # fmt: skip
    assert {field_types(message)["usage"] for message in charged} == {"Usage"}


def test_a_batch_takes_every_change_and_answers_it_under_the_same_name_and_number():
    operation, outcome = credit_service_pb2.BatchOperation.DESCRIPTOR, credit_service_pb2.BatchOutcome.DESCRIPTOR
    asked = {(field.name, field.number): field.message_type for field in operation.fields}
    answered = {(field.name, field.number): field.message_type for field in outcome.fields if field.name != "error"}

    assert set(asked.values()) == {rpc.values[0].input_type for rpc in CHANGING}
    assert {place: kind.name.replace("Request", "Response") for place, kind in asked.items()} == {
        place: kind.name for place, kind in answered.items()
    }


@pytest.mark.parametrize("rpc", RPCS)
def test_a_list_has_pages(rpc):
    request, response = field_types(rpc.input_type), field_types(rpc.output_type)

    assert ("page_size" in request) == ("page_token" in request) == ("next_page_token" in response)


def test_every_enum_begins_with_unspecified():
    enums = [enum for file in FILES for enum in file.DESCRIPTOR.enum_types_by_name.values()]
    enums += [enum for message in MESSAGES for enum in message.enum_types]

    assert len(enums) >= 5
    for enum in enums:
        assert enum.values_by_number[0].name.endswith("_UNSPECIFIED")


def test_no_amount_is_a_float():
    floats = {FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE}

    assert not [field.full_name for message in MESSAGES for field in message.fields if field.type in floats]


def test_absent_is_not_zero_where_it_means_something_else():
    capture, grant = credit_service_pb2.CaptureRequest, credit_service_pb2.GrantRequest

    assert capture(amount=0).HasField("amount")
    assert grant(priority=0).HasField("priority")
    assert capture(final=False).HasField("final")
    assert accounts_pb2.UpdateAccountRequest(unlimited=False).HasField("unlimited")
    assert accounts_pb2.UpdateAccountRequest(limits={}).HasField("limits")
    assert pricing_service_pb2.Tier(up_to=0).HasField("up_to")


def test_the_package_is_the_path_and_the_import():
    for file in FILES:
        assert file.DESCRIPTOR.package == "scrip.v1"
        assert file.DESCRIPTOR.name.startswith("scrip/v1/")
        assert file.__name__.startswith("scrip.v1.")
