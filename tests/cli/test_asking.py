"""What a command says when it does not get what it asked for."""

import re
import subprocess
import sys
from pathlib import Path

import click
import grpc
import pytest
from scrip import ErrorReason, StripeUnavailable

from server.__main__ import main
from server.commands.asking import errors_told

DOCUMENTED = Path(__file__).parent.parent.parent / "docs" / "commands.md"


def error_of(result) -> str:
    """What went wrong, in one line; nothing else may have been said, and nothing broken."""
    assert result.exit_code in {1, 2}
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    *usage, error = result.stderr.splitlines()
    assert bool(usage) == (result.exit_code == 2)
    return error.removeprefix("Error: ")


REFUSALS = (
    ("balance nobody", "Account nobody has no open account. Open it with OpenAccount first."),
    ("history nobody", "Account nobody has no credits account. Open it with OpenAccount first."),
    ("history acme --asset points", "Asset points is not defined. Define it with DefineAsset first."),
    ("audit nobody", "Account nobody has no open account. Open it with OpenAccount first."),
    ("trial-balance --asset points", "Asset points is not defined. Define it with DefineAsset first."),
    ("open acme", "Account acme already has a credits account."),
    ("open ä", "account_id must be 1 to 128 printable ASCII characters; it has 'ä'."),
    ("open b --request-id ä", "request_id must be 1 to 128 printable ASCII characters; it has 'ä'."),
    (
        "define-asset credits --scale 2",
        "Asset credits has scale 0 for ever; it cannot become 2. Define another asset.",
    ),
    ("grant acme 0 --source promo", "amount must be 1 to 9223372036854775807; it is 0."),
    ("grant acme --source promo -- -5", "amount must be 1 to 9223372036854775807; it is -5."),
    (
        "grant acme 9223372036854775808 --source promo",
        "amount must be -9223372036854775808 to 9223372036854775807; it is 9223372036854775808.",
    ),
    (
        "grant acme 1 --source promo --expires-at 2025-12-31",
        "expires_at 2025-12-31T00:00:00Z is not after now, 2026-01-01T00:00:00Z. Name a later instant.",
    ),
    ("transfer acme nobody 1", "Account nobody has no credits account. Open it with OpenAccount first."),
    ("transfer acme acme 1", "to_account_id must be another account than the first."),
    ("refund en_x", "No entry has the id en_x. Use an entry_id that a change or History answered with."),
    ("revoke lt_x --spent owe", "No lot has the id lt_x. Use a lot_id that a change or ListLots answered with."),
    ("explain en_x", "No entry has the id en_x. Use an entry_id that a change or History answered with."),
    ("unfreeze acme", "The credits account of acme is not frozen."),
    (
        "balance acme --as-of 2027-01-01",
        "2027-01-01T00:00:00Z is still to come; it is 2026-01-01T00:00:00Z now. Name an instant that is past.",
    ),
    (
        "revenue --from 2027-01-01",
        "2027-01-01T00:00:00Z is still to come; it is 2026-01-01T00:00:00Z now. Name an instant that is past.",
    ),
    (
        "update-account acme --time-zone Atlantis",
        "time_zone must be the IANA name of a time zone, such as Europe/Berlin; it is 'Atlantis'.",
    ),
    ("configure-asset points", "Asset points is not defined. Define it with DefineAsset first."),
    (
        "grant acme 1 --source promo --ttl 1d --expires-at 2027-01-01",
        "ttl must not be given together with expires_at.",
    ),
)


def test_a_refusal_is_one_sentence_and_ends_with_1(scrip, ask):
    ask("OpenAccount")

    for command, error in REFUSALS:
        result = scrip(*command.split())

        assert result.exit_code == 1
        assert error_of(result) == error


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("grant acme 1.5 --source promo", "Invalid value for 'AMOUNT': '1.5' is not a valid integer."),
        ("grant acme 1", "Missing option '--source'. Choose from:"),
        (
            "grant acme 1 --source theft",
            "'theft' is not one of 'free', 'promo', 'welcome', 'referral', 'lead', 'gift',",
        ),
        ("grant acme 1 --source promo --ttl 1w", "'1w' is not a length of time such as 90s, 15m, 12h or 30d."),
        ("grant acme 1 --source promo --expires-at soon", "'soon' is not an instant such as 2027-01-31T12:00:00Z."),
        ("history acme --limit -1", "-1 is not in the range x>=0."),
        ("define-asset points --scale 19", "19 is not in the range 0<=x<=18."),
        ("balance acme --format xml", "'xml' is not one of 'table', 'json', 'csv'."),
        ("balance", "Missing argument 'ACCOUNT'."),
        ("balance acme --deadline 5", "No such option '--deadline'. Did you mean '--deadline-s'?"),
        ("balances acme", "No such command 'balances'. (Did you mean one of: 'balance', 'plans', 'trial-balance'?)"),
    ],
)
def test_a_wrong_command_line_is_told_what_would_be_right_and_ends_with_2(run, command, error):
    result = run(*command.split())

    assert result.exit_code == 2
    assert error in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["balance acme", "open acme"])
def test_a_server_that_is_not_there_is_told_with_its_address_and_how_to_start_one(run, command):
    result = run(*command.split(), SCRIP_SERVER="127.0.0.1:1", SCRIP_DEADLINE_S="0.5")

    assert result.exit_code == 1
    assert error_of(result).endswith(". Is a server running at 127.0.0.1:1? Start one with: scrip serve")


@pytest.mark.parametrize("server", ["http://127.0.0.1:50051", ""])
def test_what_is_no_address_of_a_server_is_an_error(run, server):
    result = run("balance", "acme", "--server", server)

    assert result.exit_code == 1
    assert error_of(result).startswith("target must ")


@pytest.mark.parametrize(
    ("module", "needed", "not_needed"),
    [
        ("server.__main__", "scrip", {"ledger", "server.app", "sqlalchemy", "stripe"}),
        ("server.app", "ledger", {"alembic", "jinja2", "prometheus_client", "starlette", "stripe", "uvicorn"}),
    ],
    ids=["a command that asks a server", "a server without HTTP and payments"],
)
def test_what_is_not_needed_is_not_loaded_so_that_the_rest_begins_soon(module, needed, not_needed):
    program = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert needed in loaded
    assert not_needed & set(loaded) == set()


def test_the_documentation_names_every_command():
    told = re.findall(r"`([a-z-]+)`", "\n".join(re.findall(r"^\| (.*?) \|", DOCUMENTED.read_text(), re.MULTILINE)))

    assert [name for name in main.commands if name not in told] == []


def test_the_help_names_every_command(run):
    said = run("--help").stdout

    assert [name for name in main.commands if f"\n  {name} " not in said] == []


def test_what_may_be_asked_for_again_is_told_with_the_request_id_that_was_made_up():
    said = "Stripe did not do this: no answer. Retry with the same request_id."
    reason = ErrorReason.ERROR_REASON_STRIPE_UNAVAILABLE

    def told(request_id):
        with pytest.raises(click.ClickException) as ended, errors_told("localhost:1"):
            raise StripeUnavailable(
                grpc.StatusCode.UNAVAILABLE, reason, said, request_id=request_id, reason_name="STRIPE_UNAVAILABLE"
            )
        return ended.value.message

    assert told("r-7") == f"{said} That was: --request-id r-7"
    assert told(None) == said
