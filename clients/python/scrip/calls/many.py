"""Many changes in one call: a batch, or a stream of grants."""

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

from google.protobuf.message import Message

from scrip import arguments
from scrip.calls.call import Answer, Call, Stream
from scrip.errors import ScripError
from scrip.reasons import from_outcome, invalid
from scrip.v1.account_service_pb2 import BulkGrantRequest, BulkGrantResponse
from scrip.v1.credit_service_pb2 import (
    BatchOperation,
    BatchOutcome,
    BatchRequest,
    BatchResponse,
    GrantRequest,
    GrantResponse,
)

BULK_DEADLINE_S = 3600.0

CHANGES: Mapping[Any, str] = {field.message_type: field.name for field in BatchOperation.DESCRIPTOR.fields}
"""What a batch can do: the kind of each request, and the name it has there."""


def batch(
    calls: Iterable[Call[Answer]], *, atomic: bool = False, preview: bool = False, deadline_s: float | None = None
) -> Call[tuple[Answer | ScripError, ...]]:
    """Do up to 1,000 changes in one call, in order, and answer what became of each: its answer, or its error.

    An error is answered here, not raised. A batch that is to be repeated after an Unavailable or a DeadlineExceeded is
    the same list of calls again, because each carries its request_id.

    calls     what is to be done, made by the functions of scrip.calls: [scrip.calls.grant("acme", 100, "free"), …]
    atomic    True: all or nothing. The error of the change that cannot be done is raised then; its `operation` is that
              change's place in the list, from 0
    preview   True: answer as if it were done, and write nothing; the calls' own must be False
    """
    parts = tuple(arguments.several("calls", calls))
    request = BatchRequest(
        operations=[_operation(index, call) for index, call in enumerate(parts)],
        atomic=arguments.truth("atomic", atomic),
        preview=arguments.truth("preview", preview),
    )

    def outcomes(response: BatchResponse) -> tuple[Answer | ScripError, ...]:
        return tuple(outcome_of(call, outcome) for call, outcome in zip(parts, response.outcomes, strict=True))

    return Call(rpc="Batch", request=request, read=outcomes, deadline_s=deadline_s, parts=parts)


def bulk_grant(
    grants: Iterable[Call[GrantResponse]] | AsyncIterable[Call[GrantResponse]],
    *,
    deadline_s: float | None = BULK_DEADLINE_S,
) -> Stream[GrantResponse]:
    """Grant to thousands of accounts: iterate over what became of each grant, in order: its answer, or its error.

    Grants are taken as they are needed, up to 500 ahead of their outcomes. A connection that breaks is opened again,
    and what had no outcome yet is sent again. If that does not help, the error is raised, with the request_id of the
    first grant without an outcome; to resume then, or after a crash, do all again with the same request_ids, which does
    nothing twice.

    grants       made by scrip.calls.grant, each with a request_id of its own, such as f"spring/{account_id}"; an
                 AsyncClient takes an async iterable too
    deadline_s   for all of them: an hour unless said otherwise; None for the client's own
    """
    if not isinstance(grants, AsyncIterable):
        arguments.several("grants", grants)
    return Stream(rpc="BulkGrant", calls=grants, request=_one_grant, outcome=_granted, deadline_s=deadline_s)


def _operation(index: int, call: Call[Any]) -> BatchOperation:
    if not isinstance(call, Call) or (name := CHANGES.get(call.request.DESCRIPTOR)) is None:
        raise invalid(f"calls[{index}]", f"must be a change made by scrip.calls; it is {_shown(call)}")
    operation = BatchOperation()
    getattr(operation, name).CopyFrom(call.request)
    return operation


def outcome_of(call: Call[Answer], outcome: BatchOutcome) -> Answer | ScripError:
    """Make of what became of a change in a batch what the change alone would have been answered, or raised."""
    if outcome.WhichOneof("outcome") == "error":
        return from_outcome(outcome.error, call.request_id)
    return call.read(getattr(outcome, CHANGES[call.request.DESCRIPTOR]))


def _one_grant(call: Call[Any]) -> Message:
    if not isinstance(call, Call) or not isinstance(call.request, GrantRequest):
        raise invalid("grants", f"must be made by scrip.calls.grant; one is {_shown(call)}")
    return BulkGrantRequest(grant=call.request)


def _granted(call: Call[Any], response: BulkGrantResponse) -> GrantResponse | ScripError:
    if response.WhichOneof("outcome") == "error":
        return from_outcome(response.error, call.request_id)
    return response.grant


def _shown(call: object) -> str:
    return call.rpc if isinstance(call, Call) else repr(call)
