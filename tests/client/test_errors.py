import copy
import pickle
import re
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
import scrip
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from scrip.reasons import CODES, REASONS

from tests.client.scripted import error

CONTRACT = Path(__file__).parents[2] / "protos/scrip/v1/errors.proto"

INSUFFICIENT = error(
    grpc.StatusCode.FAILED_PRECONDITION,
    "INSUFFICIENT_CREDITS",
    "Account acme has 40 credits available; this needs 60. Grant credits or ask for less.",
    account_id="acme",
    asset="credits",
    scale="2",
    available="40",
    required="60",
    shortfall="20",
    held="5",
    held_until="2026-02-01T00:00:00.250000Z",
)


def caught(way, script, target, status, do=lambda client: client.check_and_deduct("acme", 60, request_id="r-1")):
    for rpc in ("CheckAndDeduct", "Audit", "Capture", "GetBalance"):
        script.answer(rpc, *[status] * 5)
    with pytest.raises(scrip.ScripError) as found:
        way.ask(target, do)
    return found.value


def contract() -> dict[str, tuple[str, list[str]]]:
    """Read the code and the names of the metadata of every reason from the contract's comments."""
    found = {}
    text = CONTRACT.read_text()
    for comment, name in re.findall(r"((?: +//.*\n)+) +(ERROR_REASON_\w+) = [1-9]", text):
        words = " ".join(line.strip().removeprefix("//").strip() for line in comment.splitlines())
        said = re.search(r"Metadata: (.*?)\.(?: |$)", re.sub(r" \([^)]*\)", "", words))
        figures = said[1].split(",") if said else []
        found[name] = (words.split(".")[0], [figure.removeprefix(" and").split()[0] for figure in figures])
    return found


def test_insufficient_credits_says_all_figures(way, script, target):
    refused = caught(way, script, target, INSUFFICIENT)

    assert type(refused) is scrip.InsufficientCredits
    assert str(refused) == "Account acme has 40 credits available; this needs 60. Grant credits or ask for less."
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.reason == scrip.ErrorReason.ERROR_REASON_INSUFFICIENT_CREDITS
    assert refused.reason_name == "INSUFFICIENT_CREDITS"
    assert refused.request_id == "r-1"
    assert (refused.account_id, refused.asset, refused.scale) == ("acme", "credits", 2)
    assert (refused.available, refused.required, refused.shortfall, refused.held) == (40, 60, 20, 5)
    assert refused.held_until == datetime(2026, 2, 1, 0, 0, 0, 250000, tzinfo=UTC)


def test_nothing_held_has_no_end(way, script, target):
    refused = caught(way, script, target, error(grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_CREDITS", held="0"))

    assert refused.held == 0
    assert refused.held_until is None


def test_nothing_out_of_scope_and_no_overdraft_are_zero(way, script, target):
    refused = caught(way, script, target, error(grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_CREDITS"))

    assert (refused.out_of_scope, refused.overdraft) == (0, 0)


def test_a_spend_limit_says_which_and_when_it_frees(way, script, target):
    status = error(
        grpc.StatusCode.FAILED_PRECONDITION,
        "SPEND_LIMIT_REACHED",
        account_id="acme",
        asset="credits",
        scale="0",
        limit="daily",
        limit_amount="100",
        used="80",
        required="30",
        frees_at="2026-02-01T00:00:00Z",
    )

    refused = caught(way, script, target, status)

    assert type(refused) is scrip.SpendLimitReached
    assert (refused.limit, refused.limit_amount, refused.used, refused.required) == ("daily", 100, 80, 30)
    assert refused.frees_at == datetime(2026, 2, 1, tzinfo=UTC)


def test_a_spend_limit_that_time_does_not_free_says_no_instant(way, script, target):
    refused = caught(way, script, target, error(grpc.StatusCode.FAILED_PRECONDITION, "SPEND_LIMIT_REACHED"))

    assert refused.frees_at is None


def test_a_price_that_is_not_found_says_what_of(way, script, target):
    status = error(
        grpc.StatusCode.NOT_FOUND,
        "PRICE_NOT_FOUND",
        asset="credits",
        provider="openai",
        operations="chat, search",
        dimensions="",
    )

    refused = caught(way, script, target, status)

    assert type(refused) is scrip.PriceNotFound
    assert (refused.asset, refused.provider) == ("credits", "openai")
    assert (refused.operations, refused.dimensions) == (("chat", "search"), ())
    assert refused.operation is None


def test_a_unit_that_has_no_rate_says_which_have(way, script, target):
    status = error(
        grpc.StatusCode.INVALID_ARGUMENT,
        "UNIT_MISMATCH",
        card="gpt-5",
        version="2",
        unit="minute",
        units="input_token, output_token",
    )

    refused = caught(way, script, target, status)

    assert type(refused) is scrip.UnitMismatch
    assert (refused.card, refused.version, refused.unit) == ("gpt-5", 2, "minute")
    assert refused.units == ("input_token", "output_token")


def test_what_stripe_refused_says_so_in_stripes_words(way, script, target):
    status = error(
        grpc.StatusCode.FAILED_PRECONDITION,
        "STRIPE_REFUSED",
        "Stripe refused this: No such price. Correct the package, the plan or the key.",
        stripe_message="No such price",
        stripe_code="resource_missing",
    )

    refused = caught(way, script, target, status)

    assert type(refused) is scrip.StripeRefused
    assert (refused.stripe_message, refused.stripe_code) == ("No such price", "resource_missing")
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert str(refused) == "Stripe refused this: No such price. Correct the package, the plan or the key."


def test_a_refusal_outside_of_a_batch_has_no_place_in_one(way, script, target):
    assert caught(way, script, target, INSUFFICIENT).operation is None


def test_a_preview_that_stays_without_an_answer_may_not_have_been_done(way, script, target):
    failed = caught(
        way,
        script,
        target,
        error(grpc.StatusCode.DEADLINE_EXCEEDED),
        lambda client: client.check_and_deduct("acme", 60, preview=True),
    )

    assert failed.request_id is None
    assert str(failed) == "It was not done."


def test_a_refusal_is_not_repeated(way, script, target):
    caught(way, script, target, INSUFFICIENT)

    assert len(script.asked) == 1


def test_a_hold_that_has_ended_says_how_and_when(way, script, target):
    status = error(
        grpc.StatusCode.FAILED_PRECONDITION,
        "HOLD_NOT_ACTIVE",
        hold_id="hd_1",
        state="captured",
        ended_at="2026-02-01T00:00:00Z",
    )

    refused = caught(way, script, target, status, lambda client: client.capture("hd_1"))

    assert type(refused) is scrip.HoldNotActive
    assert (refused.hold_id, refused.state) == ("hd_1", "captured")
    assert refused.ended_at == datetime(2026, 2, 1, tzinfo=UTC)


def test_a_reused_request_id_names_the_fields_that_differ(way, script, target):
    status = error(
        grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", request_id="r-1", entry_id="en_1", fields="amount, memo"
    )

    refused = caught(way, script, target, status)

    assert type(refused) is scrip.RequestIdReused
    assert refused.fields == ("amount", "memo")
    assert (refused.entry_id, refused.order_id) == ("en_1", "")


def test_a_malformed_request_names_its_fields(way, script, target):
    malformed = error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field="amount", description="must be 1 or more"),
            error_details_pb2.BadRequest.FieldViolation(field="asset", description="must be lower case"),
        ]
    )

    refused = caught(
        way,
        script,
        target,
        error(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "amount is 0.", malformed, field="amount"),
    )

    assert type(refused) is scrip.InvalidField
    assert refused.field == "amount"
    assert refused.violations == (
        scrip.FieldViolation(field="amount", description="must be 1 or more"),
        scrip.FieldViolation(field="asset", description="must be lower case"),
    )


def test_a_full_queue_says_when_to_come_back(way, script, target):
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(nanos=100_000_000))

    failed = caught(
        way, script, target, error(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", "Wait.", retry, queue_max="10000")
    )

    assert type(failed) is scrip.QueueFull
    assert failed.queue_max == 10000
    assert failed.retry_after_s == pytest.approx(0.1)
    assert len(script.asked) == 1


def test_a_bug_in_the_server_has_an_incident_id(way, script, target):
    failed = caught(way, script, target, error(grpc.StatusCode.INTERNAL, "INTERNAL", incident_id="7f3c"))

    assert type(failed) is scrip.Internal
    assert failed.incident_id == "7f3c"


def test_a_call_that_changes_nothing_has_no_request_id(way, script, target):
    status = error(grpc.StatusCode.NOT_FOUND, "ACCOUNT_NOT_FOUND", account_id="acme", asset="credits")

    refused = caught(way, script, target, status, lambda client: client.balance("acme"))

    assert type(refused) is scrip.AccountNotFound
    assert refused.request_id is None


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_reason_of_a_newer_server_falls_back_to_the_code(script, target, code):
    script.answer("Audit", *[error(code, "FLUX_CAPACITOR_EMPTY", "It is empty.", level="0")] * 5)

    with scrip.Client(target) as client, pytest.raises(scrip.ScripError) as found:
        client.audit()

    assert type(found.value) is CODES.get(code, scrip.ScripError)
    assert found.value.code is code
    assert found.value.reason == scrip.ErrorReason.ERROR_REASON_UNSPECIFIED
    assert found.value.reason_name == "FLUX_CAPACITOR_EMPTY"
    assert found.value.metadata == {"level": "0"}
    assert str(found.value) == "It is empty."


def test_the_reason_of_somebody_else_is_not_taken_for_ours(way, script, target):
    status = error(grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_CREDITS", domain="example.com")

    refused = caught(way, script, target, status)

    assert type(refused) is scrip.FailedPrecondition
    assert refused.reason_name == ""


def test_details_that_cannot_be_read_leave_the_code_and_the_message(script, target):
    def broken(code, details):
        class Broken(grpc.Status):
            pass

        status = Broken()
        status.code, status.details, status.trailing_metadata = code, "No.", (("grpc-status-details-bin", details),)
        return status

    script.answer("Audit", broken(grpc.StatusCode.NOT_FOUND, b"\xff\xff"), broken(grpc.StatusCode.NOT_FOUND, b""))

    for _ in range(2):
        with scrip.Client(target) as client, pytest.raises(scrip.NotFound, match=r"^No\.$") as found:
            client.audit()
        assert found.value.reason == scrip.ErrorReason.ERROR_REASON_UNSPECIFIED


def test_a_figure_that_the_server_did_not_say_is_not_invented(way, script, target):
    refused = caught(way, script, target, error(grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_CREDITS"))

    with pytest.raises(AttributeError, match="did not say available"):
        _ = refused.available


def test_errors_can_be_copied_and_pickled(way, script, target):
    refused = caught(way, script, target, INSUFFICIENT)

    for again in (copy.copy(refused), pickle.loads(pickle.dumps(refused))):  # noqa: S301 -- our own
        assert type(again) is scrip.InsufficientCredits
        assert vars(again) == vars(refused)
        assert str(again) == str(refused)


def test_what_grpc_said_stays_as_the_cause(way, script, target):
    refused = caught(way, script, target, INSUFFICIENT)

    assert isinstance(refused.__cause__, grpc.RpcError)


# Each error has these, whatever its class.
OF_EVERY_ERROR = {"request_id", "retry_after_s"}


def test_every_reason_of_the_contract_has_a_class():
    assert set(REASONS) == set(scrip.ErrorReason.values()) - {scrip.ErrorReason.ERROR_REASON_UNSPECIFIED}


@pytest.mark.parametrize("name", sorted(set(scrip.ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}))
def test_the_class_of_a_reason_has_the_code_and_the_figures_that_the_contract_names(name):
    code, figures = contract()[name]

    kind = REASONS[scrip.ErrorReason.Value(name)]

    assert issubclass(kind, CODES[grpc.StatusCode[code]])
    assert [figure for figure in figures if figure not in OF_EVERY_ERROR and not hasattr(kind, figure)] == []


@pytest.mark.parametrize("kind", sorted({*REASONS.values(), *CODES.values()}, key=lambda kind: kind.__name__))
def test_every_class_of_error_is_public_and_explained(kind):
    assert getattr(scrip, kind.__name__) is kind
    assert kind.__doc__
