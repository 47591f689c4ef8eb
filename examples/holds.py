"""Holds: a studio paints pictures to order and does not know beforehand how many a customer will want.

    python examples/holds.py

For each order it sets credits aside, captures them picture by picture, sets more aside when the customer asks for more,
and gives the rest back in the end. Standard output is the same on every run on empty books.
"""

import argparse
import sys
from datetime import timedelta

import scrip

ASSET = "pictures"


def tell(what: str, balance: scrip.Balance) -> None:
    print(f"{what:<64}{balance.available:>5} available{balance.held:>5} held")


def paint(client: scrip.Client) -> None:
    """An order that grows, and ends with a little more than was set aside."""
    with client.hold(
        "mia", 60, asset=ASSET, operation="image/paint", tolerance=10, ttl=timedelta(minutes=10), request_id="order-1"
    ) as order:
        tell("Mia orders pictures for up to 60, give or take 10", order.balance)
        tell("The first one costs 20", order.capture(20, final=False).balance)
        tell("The second costs 25", order.capture(25, final=False).balance)
        tell("She wants another: 15 more are set aside", order.increase(15).balance)
        order.extend(timedelta(hours=1))
        tell("It takes an hour; meanwhile nobody else can spend them", client.balance("mia", asset=ASSET))
        last = order.capture(34)
        tell(f"It costs {last.captured}, which is 4 beyond the hold", last.balance)


def fail(client: scrip.Client) -> None:
    """An order that comes to nothing costs nothing: leaving the block by an exception releases the hold."""
    try:
        with client.hold("mia", 10, asset=ASSET, operation="image/paint", request_id="order-2") as order:
            tell("Mia orders another one for 10", order.balance)
            mix_colours()
    except RuntimeError as error:
        tell(f"The studio is {error}: all of it goes back", client.balance("mia", asset=ASSET))


def mix_colours() -> None:
    raise RuntimeError("out of paint")


def overdo(client: scrip.Client) -> None:
    """A capture that is above the hold is refused, and nothing is lost."""
    with client.hold("mia", 15, asset=ASSET, operation="image/paint", request_id="order-3") as order:
        try:
            order.capture(16)
        except scrip.AmountAboveHold as refused:
            print(f"Refused: {refused.required} is above the hold, of which {refused.capturable} can be captured")
        tell("So the studio takes what was agreed", order.capture(15).balance)


def main(target: str) -> None:
    with scrip.Client(target) as client:
        client.define_asset(ASSET)
        client.open_account("mia", asset=ASSET, request_id="open")
        tell("Mia buys 100", client.grant("mia", 100, "purchase", asset=ASSET, request_id="pack").balance)
        paint(client)
        fail(client)
        overdo(client)

        print("\nHer holds, newest first")
        for hold in client.holds("mia", asset=ASSET):
            state = scrip.v1.types_pb2.Hold.State.Name(hold.state).removeprefix("STATE_").lower()
            print(f"  {state:<10}{hold.amount:>4} set aside{hold.captured:>5} captured")
        audit = client.audit("mia", asset=ASSET)
        print(f"Audit of {audit.entries} entries: {'clean' if audit.clean else audit.findings}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Holds of an order that grows, fails, and ends.")
    arguments.add_argument("--server", default="127.0.0.1:50051")
    try:
        main(arguments.parse_args().server)
    except scrip.ScripError as failed:
        sys.exit(str(failed))
