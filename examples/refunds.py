"""Refunds: what was spent is given back, wholly or partly, to where it came from.

    python examples/refunds.py

It also shows what a refund does about a debt, and about a lot that has run out meanwhile; for that it waits for two
seconds. Standard output is the same on every run on empty books.
"""

import argparse
import sys
import time
from datetime import timedelta

import scrip

ASSET = "calls"
TRIAL = timedelta(seconds=2)


def tell(what: str, balance: scrip.Balance) -> None:
    print(f"{what:<64}{balance.available:>5} available{balance.owed:>5} owed")


def in_parts(client: scrip.Client) -> None:
    """Several refunds of one deduction never give back more than it took; a refund cannot be refunded."""
    call = client.check_and_deduct("zoe", 40, asset=ASSET, request_id="call-1")
    tell("Zoe calls for 40", call.balance)
    first = client.refund(call.entry_id, 15, request_id="refund-1")
    tell("The line was bad: 15 come back", first.balance)
    try:
        client.refund(call.entry_id, 30)
    except scrip.AmountAboveRefundable as refused:
        print(f"Refused: 30 more is above the {refused.refundable} that are left of it")
    tell("So all that is left comes back", client.refund(call.entry_id, request_id="refund-2").balance)
    try:
        client.refund(first.entry_id)
    except scrip.EntryNotRefundable as refused:
        print(f"Refused: an entry of kind {refused.kind} cannot be refunded")


def to_a_lot_that_has_run_out(client: scrip.Client) -> None:
    """The caller says what to do about it; unless told otherwise, what comes back is gone at once."""
    client.grant("zoe", 30, "promo", ttl=TRIAL, asset=ASSET, request_id="trial")
    call = client.check_and_deduct("zoe", 30, asset=ASSET, request_id="call-2")
    tell(f"A trial of {TRIAL.seconds} seconds pays for a call for 30", call.balance)
    time.sleep(TRIAL.total_seconds())
    gone = client.refund(call.entry_id, 10, request_id="refund-3")
    tell(f"Later 10 come back to the trial, and {gone.lapsed} of them lapse", gone.balance)
    kept = client.refund(call.entry_id, 20, expired_lots="new_lot", lot_ttl=timedelta(days=30), request_id="refund-4")
    tell("The other 20 become a new lot of 30 days", kept.balance)


def of_a_debt(client: scrip.Client) -> None:
    """What was owed for it is no longer owed; the rest goes back to its lot."""
    call = client.check_and_deduct("zoe", 100, mode="record", asset=ASSET, request_id="call-3")
    tell("A call for 100 has happened, whatever there was", call.balance)
    refund = client.refund(call.entry_id, 50, request_id="refund-5")
    tell(f"Half of it is refunded, of which {refund.repaid} was owed", refund.balance)


def of_the_money(client: scrip.Client, pack: scrip.GrantResponse) -> None:
    """Money that is returned takes the grant with it: what is left goes, what is spent is owed."""
    revoked = client.revoke(pack.lot_id, spent="owe", request_id="chargeback")
    tell(f"The bank takes the pack's money back: {revoked.became_owed} of it is owed", revoked.balance)


def main(target: str) -> None:
    with scrip.Client(target) as client:
        client.define_asset(ASSET)
        client.open_account("zoe", asset=ASSET, request_id="open")
        pack = client.grant("zoe", 50, "purchase", cost=(900, "EUR"), asset=ASSET, request_id="pack")
        tell("Zoe buys 50", pack.balance)
        in_parts(client)
        to_a_lot_that_has_run_out(client)
        of_a_debt(client)
        of_the_money(client, pack)

        print("\nHer entries")
        for entry in client.history("zoe", asset=ASSET, order="oldest_first"):
            kind = scrip.Entry.Kind.Name(entry.kind).removeprefix("KIND_").lower()
            moved = (f"{side(line.debit)} > {side(line.credit)} {line.amount}" for line in entry.lines)
            print(f"  {entry.seq:>2} {kind:<10}{'; '.join(moved)}".rstrip())
        audit = client.audit("zoe", asset=ASSET)
        print(f"Audit of {audit.entries} entries: {'clean' if audit.clean else audit.findings}")


def side(code: scrip.Code.ValueType) -> str:
    return scrip.Code.Name(code).removeprefix("CODE_").lower()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Refunds in parts, of what has run out, of debt, of the money.")
    arguments.add_argument("--server", default="127.0.0.1:50051")
    try:
        main(arguments.parse_args().server)
    except scrip.ScripError as failed:
        sys.exit(str(failed))
