"""The commands of the books: each asks a server, or with --database one that it starts for itself; and `bench`."""

from typing import Final

import click

from server.commands.accounts import ACCOUNT_COMMANDS
from server.commands.bench import bench
from server.commands.books import BOOK_COMMANDS
from server.commands.bulk import bulk_grant
from server.commands.credits import CREDIT_COMMANDS
from server.commands.payments import PAYMENT_COMMANDS
from server.commands.prices import prices
from server.commands.reading import READING_COMMANDS
from server.commands.sales import SALE_COMMANDS

COMMANDS: Final[tuple[click.Command, ...]] = (
    *ACCOUNT_COMMANDS,
    *CREDIT_COMMANDS,
    bulk_grant,
    *READING_COMMANDS,
    *BOOK_COMMANDS,
    *SALE_COMMANDS,
    *PAYMENT_COMMANDS,
    prices,
    bench,
)
