"""Every call, defined once: what it takes, how that becomes a request, and what comes out of the response.

Nothing here touches the network. Client and AsyncClient run what is made here, each in its own way. What a batch or a
stream is to do is a list of what is made here.
"""

from scrip.calls.administration import (
    adjust,
    close_account,
    freeze_account,
    merge_accounts,
    revoke,
    unfreeze_account,
    update_account,
    write_off,
)
from scrip.calls.books import assets, audit, configure_asset, define_asset, entry, explain, trial_balance
from scrip.calls.call import Call
from scrip.calls.credits import check, check_and_deduct, grant, open_account, refund, transfer
from scrip.calls.holding import capture, extend_hold, hold, increase_hold, release
from scrip.calls.many import batch, bulk_grant
from scrip.calls.reads import (
    account,
    balance,
    balances,
    history,
    history_page,
    holds,
    holds_page,
    lots,
    lots_page,
)

__all__ = [
    "Call",
    "account",
    "adjust",
    "assets",
    "audit",
    "balance",
    "balances",
    "batch",
    "bulk_grant",
    "capture",
    "check",
    "check_and_deduct",
    "close_account",
    "configure_asset",
    "define_asset",
    "entry",
    "explain",
    "extend_hold",
    "freeze_account",
    "grant",
    "history",
    "history_page",
    "hold",
    "holds",
    "holds_page",
    "increase_hold",
    "lots",
    "lots_page",
    "merge_accounts",
    "open_account",
    "refund",
    "release",
    "revoke",
    "transfer",
    "trial_balance",
    "unfreeze_account",
    "update_account",
    "write_off",
]
