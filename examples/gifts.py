"""Gifts: a customer gives credits away, and a visitor becomes a customer.

    python examples/gifts.py

Each lot that is given stays what it was: it keeps its expiry and its share of what was paid for it. Both accounts are
changed in one step, or neither is. Standard output is the same on every run on empty books.
"""

import argparse
import sys
from datetime import UTC, timedelta

import scrip

ASSET = "gems"


def tell(what: str, client: scrip.Client, *customers: str) -> None:
    print(f"\n{what}")
    for customer in customers:
        print(f"  {customer} has {client.balance(customer, asset=ASSET).available}")
        for lot in client.lots(customer, asset=ASSET):
            source = scrip.Source.Name(lot.source).removeprefix("SOURCE_").lower()
            cost = f", paid {lot.cost.minor_units} {lot.cost.currency}" if lot.HasField("cost") else ""
            print(f"    {lot.remaining:>3} of {lot.granted} from {source}, {lasts(lot)}{cost}")


def lasts(lot: scrip.Lot) -> str:
    if not lot.HasField("expires_at"):
        return "for ever"
    life = lot.expires_at.ToDatetime(tzinfo=UTC) - lot.effective_at.ToDatetime(tzinfo=UTC)
    return f"for {life.days} days"


def main(target: str) -> None:
    with scrip.Client(target) as client:
        client.define_asset(ASSET)
        # From now on nobody has to open accounts, and everybody is welcome.
        client.configure_asset(ASSET, auto_open=True, welcome=scrip.Welcome(amount=5, ttl=timedelta(days=7)))
        client.grant("ann", 100, "purchase", cost=(4900, "EUR"), asset=ASSET, request_id="pack")
        client.grant("ann", 30, "promo", ttl=timedelta(days=90), asset=ASSET, request_id="spring")
        tell("Ann has bought a pack, after her welcome and a promotion", client, "ann")

        client.transfer("ann", "ben", 60, asset=ASSET, description="Happy birthday", request_id="birthday")
        tell("Ben, who had no account, gets 60: what burns first is given first", client, "ann", "ben")

        again = client.transfer("ann", "ben", 60, asset=ASSET, description="Happy birthday", request_id="birthday")
        print(f"\nThe same request again does nothing: replayed is {again.replayed}")
        try:
            client.transfer("ann", "ben", 80, asset=ASSET)
        except scrip.InsufficientCredits as refused:
            print(f"Giving {refused.required} is refused: {refused.shortfall} are missing")

        client.grant("visitor-7", 20, "lead", ttl=timedelta(days=30), asset=ASSET, request_id="tour")
        client.merge_accounts("visitor-7", "ben", asset=ASSET, request_id="sign-up")
        tell("Ben was visitor-7 before: that account's lots are his, and it is closed", client, "ben")
        try:
            client.grant("visitor-7", 20, "lead", asset=ASSET)
        except scrip.AccountClosed as refused:
            print(f"\n{refused.message}")

        for row in client.trial_balance(asset=ASSET).assets[0].rows:
            if row.code == scrip.Code.CODE_TRANSFERS:
                print(f"Transfers: debits {row.debits}, credits {row.credits}, balance {row.balance}")
        audit = client.audit(asset=ASSET)
        print(f"Audit of {audit.accounts} accounts: {'clean' if audit.clean else audit.findings}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Credits that customers give each other.")
    arguments.add_argument("--server", default="127.0.0.1:50051")
    try:
        main(arguments.parse_args().server)
    except scrip.ScripError as failed:
        sys.exit(str(failed))
