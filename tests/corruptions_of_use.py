"""What can be wrong in a database whose story tests/story_of_use.py tells, and what the audit says then.

As in tests/corruptions.py; besides, values that cannot be read.
"""

from tests.corruptions import OF_ACME, entry

DAILY, TOKENS = "daily@3", "price:chat:token:day:Europe/Berlin"


def charge(seq, old, new):
    """A charge with other words in it."""
    return (
        "UPDATE entries SET charge = replace(charge, 'OLD', 'NEW') WHERE seq = SEQ AND IN_ACME".replace("OLD", old)
        .replace("NEW", new)
        .replace("SEQ", str(seq))
    )


def counted(seq, name, change):
    """Another row of what an entry counted."""
    statement = "UPDATE spending SET CHANGE WHERE seq = SEQ AND name = 'NAME' AND IN_ACME"
    return statement.replace("CHANGE", change).replace("SEQ", str(seq)).replace("NAME", name)


def counted_too(seq, name, change, limit):
    """A row that no entry has counted."""
    statement = """INSERT INTO spending SELECT account_key, SEQ, 'NAME', counts_at, CHANGE, '20', LIMIT FROM spending
    WHERE seq = 11 AND IN_ACME"""
    statement = statement.replace("CHANGE", str(change)).replace("LIMIT", limit)
    return statement.replace("SEQ", str(seq)).replace("NAME", name)


def unreadable(column, where):
    return rf"{where} has a value that cannot be read in {column}; the account is audited no further\."


CORRUPTIONS_OF_USE = {
    "a charge names a version that nobody made": (
        charge(4, '"chat",1,', '"chat",2,'),
        rf"{entry(4)} was charged by version 2 of card chat, which is not there\.",
    ),
    "rate cards are gone": (
        "DELETE FROM rate_cards",
        rf"{entry(7)} was charged by version 1 of card image, which is not there\.",
    ),
    "a rate card cannot be read": (
        "UPDATE rate_cards SET terms = 'x' WHERE card = 'image'",
        rf"{entry(7)} was charged by version 1 of card image, which cannot be read\.",
    ),
    "a rate card has another rate": (
        """UPDATE rate_cards SET terms = replace(terms, '"rate":"2"', '"rate":"3"')""",
        rf"{entry(6)} says that its charge has amount 8, but version 1 of card chat makes it 12\.",
    ),
    "a rate card has another discount": (
        """UPDATE rate_cards SET terms = replace(terms, '"20",null', '"10",null')""",
        rf"{entry(7)} says that its charge has discount 20, but version 1 of card image makes it 10\.",
    ),
    "a rate card counts only later": (
        "UPDATE rate_cards SET effective_at = '2026-01-01T12:00:00.000000+00:00' WHERE card = 'image'",
        rf"{entry(7)} was charged by version 1 of card image, which has no price for that at 2026-01-01",
    ),
    "a charge has another amount": (
        charge(4, '"chat",1,10', '"chat",1,9'),
        rf"{entry(4)} says that its charge has amount 9, but version 1 of card chat makes it 10\.",
    ),
    "a charge is not what was moved": (
        charge(4, '"chat",1,10', '"chat",1,9'),
        rf"{entry(4)} was charged 9, but its lines move 10\.",
    ),
    "a hold sets aside another amount than its charge": (
        charge(5, '"chat",1,10', '"chat",1,11'),
        rf"{entry(5)} was charged 11, but its lines move 10\.",
    ),
    "a deduction takes more than its charge": (
        charge(8, '"chat",1,200', '"chat",1,77'),
        rf"{entry(8)} was charged 77, but its lines move 78\.",
    ),
    "a charge has other parts": (
        charge(6, '"token",4,"8",4,0', '"token",4,"8",4,1'),
        rf"{entry(6)} says that its charge has parts token 4 1 15 8, but version 1 of card chat makes it token 4 0",
    ),
    "a charge says that something else was counted before": (
        charge(8, '"token",100,"200",100,0,19', '"token",100,"200",100,0,18'),
        rf"{entry(8)} was charged as if card chat had counted 18 token before, but the entries up to it counted 19\.",
    ),
    "a refund was charged": (
        """UPDATE entries SET charge = (SELECT charge FROM entries WHERE seq = 7 AND IN_ACME)
        WHERE seq = 9 AND IN_ACME""",
        rf"{entry(9)} is of kind refund, which does not fit that it was charged for usage\.",
    ),
    "what a card counted is gone": (
        "DELETE FROM spending WHERE seq = 10 AND name LIKE 'price:%' AND IN_ACME",
        rf"{entry(10)} counts 11 under {TOKENS}, which is not kept\.",
    ),
    "all that was counted is gone": (
        "DELETE FROM spending",
        rf"{entry(11)} counts 1 under {DAILY}, which is not kept\.",
    ),
    "what a card counted is less": (
        counted(6, TOKENS, "used = '0'"),
        rf"{entry(6)} is kept as counting 4 under {TOKENS} at .*, but it counts 4 under {TOKENS} at .* with 19 used\.",
    ),
    "a card counted what is held": (
        counted_too(5, TOKENS, 5, "NULL"),
        rf"{entry(5)} is kept as counting 5 under {TOKENS}, where it counts nothing\.",
    ),
    "a limit counted less": (
        counted(7, DAILY, "change = 3"),
        rf"{entry(7)} is kept as counting 3 under {DAILY} at .* with 22 used, but it counts 4 under {DAILY}",
    ),
    "a limit counted later": (
        counted(11, DAILY, "counts_at = '2026-01-03T00:00:00.000000+00:00'"),
        rf"{entry(11)} is kept as counting 1 under {DAILY} at 2026-01-03 .*, but it counts 1 under {DAILY} at",
    ),
    "a limit has more used": (
        counted(9, DAILY, "used = '96'"),
        rf"{entry(9)} is kept as counting -3 under {DAILY} at .* with 96 used, but .* with 97 used\.",
    ),
    "a rolling limit counted less": (
        counted(8, "often@3", "change = 3"),
        rf"{entry(8)} is kept as counting 3 under often@3 at .*, but it counts 78 under often@3",
    ),
    "a limit counted what it is not for": (
        counted_too(11, "often@3", 1, "500"),
        rf"{entry(11)} is kept as counting 1 under often@3, where it counts nothing\.",
    ),
    "a limit of before counted something else": (
        counted_too(11, "old@2", 2, "500"),
        rf"{entry(11)} is kept as counting 2 under old@2, where it counts nothing\.",
    ),
    "an entry counted that is not there": (
        counted(11, DAILY, "seq = 12"),
        rf"{OF_ACME} has 1 counted under {DAILY} by entry 12, which is not there\.",
    ),
    "the account has another time zone": (
        "UPDATE accounts SET terms = replace(terms, 'Europe/Berlin', 'UTC') WHERE IN_ACME",
        rf"{OF_ACME} keeps time_zone as UTC, but its entries say Europe/Berlin\.",
    ),
    "a charge is no charge": (
        "UPDATE entries SET charge = '[]' WHERE seq = 4 AND IN_ACME",
        unreadable("column charge of entries", entry(4)),
    ),
    "a charge has words for figures": (
        charge(4, '"chat",1,10', '"chat",1,"10"'),
        unreadable("column charge of entries", entry(4)),
    ),
    "a charge is nothing": (
        "UPDATE entries SET charge = 'null' WHERE seq = 4 AND IN_ACME",
        unreadable("column charge of entries", entry(4)),
    ),
    "what an entry made cannot be read": (
        "UPDATE entries SET made = 'x' WHERE seq = 2 AND IN_ACME",
        unreadable("column made of entries", entry(2)),
    ),
    "what an entry made has words for figures": (
        """UPDATE entries SET made = replace(made, '"granted":100', '"granted":"x"') WHERE seq = 2 AND IN_ACME""",
        unreadable("column made of entries", entry(2)),
    ),
    "metadata is no metadata": (
        "UPDATE entries SET metadata = '[1]' WHERE seq = 2 AND IN_ACME",
        unreadable("column metadata of entries", entry(2)),
    ),
    "an entry is of no kind": (
        "UPDATE entries SET kind = 'x' WHERE seq = 2 AND IN_ACME",
        unreadable("column kind of entries", entry(2)),
    ),
    "an entry has a word for a figure": (
        "UPDATE entries SET available = 'x' WHERE seq = 2 AND IN_ACME",
        unreadable("a column that is not of its kind", entry(2)),
    ),
    "a line has no such side": (
        "UPDATE lines SET debit = 'x' WHERE seq = 4 AND IN_ACME",
        unreadable("column debit of lines", entry(4)),
    ),
    "an account's terms cannot be read": (
        "UPDATE accounts SET terms = '{' WHERE IN_ACME",
        unreadable("column terms of accounts", OF_ACME),
    ),
    "a lot has no such source": (
        "UPDATE lots SET source = 'x' WHERE IN_ACME",
        unreadable("column source of lots", OF_ACME),
    ),
    "what a hold drew cannot be read": (
        "UPDATE holds SET drawn = 'x' WHERE hold = 5 AND IN_ACME",
        unreadable("column drawn of holds", OF_ACME),
    ),
}
