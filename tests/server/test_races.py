"""Calls at the same moment that want the same: one winner each, nothing lost, nothing waits for ever."""

from collections import Counter

import grpc
import pytest
from scrip.v1.ledger_service_pb2 import AssetPolicy, Welcome

from tests.server.asking import told

AT_ONCE = 24


def outcomes(calls):
    """How often which outcome was told; `done` for those that were answered, `replayed` for repeats."""
    found = Counter()
    for call in calls:
        try:
            found["replayed" if call.result().replayed else "done"] += 1
        except grpc.RpcError as error:
            found[told(error).reason] += 1
    return found


def available(ask, *names):
    return sum(ask("GetBalance", account_id=name).balances[0].available for name in names)


@pytest.fixture
def acme(ask):
    """An account with 100 credits, on each engine."""
    ask("OpenAccount")
    ask("Grant", amount=100)
    return ask


def test_a_deduction_is_refunded_once(acme):
    spent = acme("CheckAndDeduct", amount=60).entry_id

    calls = [acme.later("Refund", entry_id=spent, amount=20) for _ in range(AT_ONCE)]

    assert outcomes(calls) == {"done": 3, "AMOUNT_ABOVE_REFUNDABLE": AT_ONCE - 3}
    assert available(acme, "acme") == 100


def test_a_hold_ends_once(acme):
    hold_id = acme("Hold", amount=50).hold_id

    ends = ["Capture", "Release"] * (AT_ONCE // 2)
    found = outcomes([acme.later(rpc, hold_id=hold_id) for rpc in ends])

    assert found == {"done": 1, "HOLD_NOT_ACTIVE": AT_ONCE - 1}


def test_a_lot_is_revoked_once(acme):
    lot_id = acme("Grant", amount=50).lot_id

    calls = [acme.later("Revoke", lot_id=lot_id) for _ in range(AT_ONCE)]

    assert outcomes(calls) == {"done": 1, "AMOUNT_ABOVE_REVOCABLE": AT_ONCE - 1}


def test_transfers_in_a_circle_all_go_round(acme):
    names = ["acme", "beta", "gamma"]
    for name in names[1:]:
        acme("OpenAccount", account_id=name)
        acme("Grant", account_id=name, amount=100)

    circle = list(zip(names, [*names[1:], names[0]], strict=True))
    calls = [acme.later("Transfer", account_id=a, to_account_id=b, amount=3) for a, b in circle * AT_ONCE]

    assert outcomes(calls) == {"done": 3 * AT_ONCE}
    assert available(acme, *names) == 300


def test_a_refund_while_its_account_merges_is_done_before_or_refused_after(acme):
    acme("OpenAccount", account_id="beta")
    spent = [acme("CheckAndDeduct", amount=1).entry_id for _ in range(AT_ONCE)]

    calls = [acme.later("Refund", entry_id=entry_id) for entry_id in spent]
    calls.insert(AT_ONCE // 2, acme.later("MergeAccounts"))
    found = outcomes(calls)

    assert set(found) <= {"done", "ACCOUNT_CLOSED"}
    assert available(acme, "beta") == 100 - AT_ONCE + found["done"] - 1


def test_a_welcome_is_granted_once_whichever_call_comes_first(ask):
    ask("ConfigureAsset", asset="credits", policy=AssetPolicy(auto_open=True, welcome=Welcome(amount=50)))

    rpcs = ["OpenAccount", "Grant", "CheckAndDeduct", "Hold"] * (AT_ONCE // 4)
    found = outcomes([ask.later(rpc) for rpc in rpcs])

    assert found["done"] >= 3 * AT_ONCE // 4
    assert set(found) <= {"done", "ACCOUNT_EXISTS"}
    kinds = [entry.kind for entry in ask("History").entries]
    assert kinds.count(1) == 1
    (balance,) = ask("GetBalance").balances
    assert balance.available + balance.held == 50


def test_changes_with_one_request_id_are_done_once(acme):
    calls = [acme.later("CheckAndDeduct", amount=5, request_id="same") for _ in range(AT_ONCE)]

    assert outcomes(calls) == {"done": 1, "replayed": AT_ONCE - 1}
    assert available(acme, "acme") == 95
