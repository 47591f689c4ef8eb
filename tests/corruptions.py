"""What can be wrong in a database whose story tests/test_audit.py tells, and what the audit says then.

Each is a statement and the beginning of a sentence; IN_ACME, IN_LEAD and IN_PAID stand for the rows of that customer.
"""

OF_ACME = r"Account acme \(credits\)"
OF_LEAD = r"Account lead \(credits\)"
OF_PAID = r"Account paid \(minutes\)"


def entry(number, name=OF_ACME):
    return rf"{name}, entry {number} \(en_\w+\)"


CORRUPTIONS = {
    "a line has another amount": (
        "UPDATE lines SET amount = amount + 1 WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} says available is 95, but the lines up to it add up to 94\.",
    ),
    "a line has another side": (
        "UPDATE lines SET credit = 'breakage' WHERE seq = 7 AND IN_ACME",
        r"Totals of credits: credits of breakage are kept as 45, but the lines add up to 55\.",
    ),
    "a line touches no side of the customer": (
        "UPDATE lines SET debit = 'payments' WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} has a line from payments to revenue, which touches no side of the customer\.",
    ),
    "a line names a lot that nobody made": (
        "UPDATE lines SET lot = 99 WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} moves credits of lot 99, which no earlier entry made\.",
    ),
    "a line names no lot": (
        "UPDATE lines SET lot = NULL WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} changes available by -10 without a lot\.",
    ),
    "a line takes what is not effective yet": (
        "UPDATE lines SET lot = 2 WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} takes credits of lot 2, which cannot burn at 2026-01-01 00:00:00\+00:00 for ''\.",
    ),
    "a line takes what may not pay for the operation": (
        "UPDATE entries SET operation = 'text/write' WHERE seq = 21 AND IN_ACME",
        rf"{entry(21)} takes credits of lot 3, which cannot burn at 2026-01-02 00:00:00\+00:00 for 'text/write'\.",
    ),
    "a line says that it left something else": (
        "UPDATE lines SET lot_remaining = 44 WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} says that it leaves 44 remaining, 30 held, .*, but the lines up to it leave 45 ",
    ),
    "a line says that it left something else held": (
        "UPDATE lines SET lot_held = 29 WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} says that it leaves 45 remaining, 29 held, .*, but the lines up to it leave 45 ",
    ),
    "a line takes more than the lot has": (
        "UPDATE lines SET amount = 99 WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} leaves lot 1 of 100 with -44 remaining, 30 held, 114 spent and 0 reclaimed, which cannot be\.",
    ),
    "a line is gone": (
        "DELETE FROM lines WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} has a hash that is not that of its content and the entry ahead of it\.",
    ),
    "a line was added": (
        """INSERT INTO lines (account_key, seq, n, amount, lot, debit, credit)
        SELECT account_key, 7, 9, 1, 1, 'available', 'revenue' FROM accounts WHERE IN_ACME""",
        rf"{OF_ACME} keeps available as 62, but its entries say 61\.",
    ),
    "an entry is gone": (
        "DELETE FROM entries WHERE seq = 7 AND IN_ACME",
        rf"{entry(8)} follows entry 6; entry numbers have no gaps\.",
    ),
    "the first entry is gone": (
        "DELETE FROM entries WHERE seq = 1 AND IN_ACME",
        rf"{entry(2)} follows entry 0; entry numbers have no gaps\.",
    ),
    "the last entry is gone": (
        "DELETE FROM entries WHERE seq = 27 AND IN_ACME",
        rf"{OF_ACME} keeps seq as 27, but its entries say 26\.",
    ),
    "an entry says another balance": (
        "UPDATE entries SET available = available + 1 WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} says available is 96, but the lines up to it add up to 95\.",
    ),
    "an entry says another amount is held": (
        "UPDATE entries SET held = held + 1 WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} says held is 31, but the lines up to it add up to 30\.",
    ),
    "an entry says something else is owed": (
        "UPDATE entries SET owed = 5 WHERE seq = 21 AND IN_ACME",
        rf"{entry(21)} says owed is 5, but the lines up to it add up to 4\.",
    ),
    "an entry says another amount is pending": (
        "UPDATE entries SET pending = 49 WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} says 49 is pending, but 50 remains in lots that are not effective yet\.",
    ),
    "an entry leaves a balance below zero": (
        "UPDATE entries SET available = -1 WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} leaves available at -1; it must never be negative\.",
    ),
    "an entry took effect before the one ahead of it": (
        "UPDATE entries SET effective_at = '2025-12-31T23:59:59.000000+00:00' WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} took effect at 2025-12-31 23:59:59\+00:00, before the entry ahead of it",
    ),
    "a second entry opens the account": (
        "UPDATE entries SET kind = 'open' WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} is of kind open; the first entry, and no other, opens the account\.",
    ),
    "the first entry does not open the account": (
        "UPDATE entries SET kind = 'grant' WHERE seq = 1 AND IN_ACME",
        rf"{entry(1)} is of kind grant; the first entry, and no other, opens the account\.",
    ),
    "a line moves what nothing was paid for": (
        "UPDATE lines SET cost = 5, currency = 'EUR' WHERE seq = 7 AND n = 0 AND IN_ACME",
        rf"{entry(7)} says that 5 EUR of the cost of lot \d goes from available to revenue, but its share is nothing\.",
    ),
    "a line takes more of the cost than its share": (
        "UPDATE lines SET cost = 41 WHERE seq = 3 AND IN_PAID",
        rf"{entry(3, OF_PAID)} says that 41 EUR of the cost of lot 1 goes from available to revenue, .* is 40 EUR\.",
    ),
    "a line moves nothing of the cost": (
        "UPDATE lines SET cost = NULL, currency = NULL WHERE seq = 5 AND IN_PAID",
        rf"{entry(5, OF_PAID)} says that nothing of the cost of lot 1 goes from available to payments, .* is 10 EUR\.",
    ),
    "a refund brings back more than was taken": (
        "UPDATE lines SET cost = 11 WHERE seq = 4 AND IN_PAID",
        rf"{entry(4, OF_PAID)} says that 11 EUR of the cost of lot 1 goes from revenue to available, .* is 10 EUR\.",
    ),
    "a refund to a new lot brings back more than was taken": (
        "UPDATE lines SET cost = 11 WHERE seq = 7 AND IN_PAID",
        rf"{entry(7, OF_PAID)} says that 11 EUR of the cost of lot 2 goes from revenue to available, .* is 10 EUR\.",
    ),
    "a refund refunds what took less": (
        "UPDATE lines SET cost = 30 WHERE seq = 3 AND IN_PAID",
        rf"{entry(4, OF_PAID)} says that 10 EUR of the cost of lot 1 goes from revenue to available, .* is 7 EUR\.",
    ),
    "the other side of a transfer costs less": (
        "UPDATE lines SET cost = 9 WHERE seq = 10 AND IN_PAID",
        rf"{entry(10, OF_PAID)} does not move the same costs as en_\w+ on the other side\.",
    ),
    "a lot that something was refunded to costs more": (
        "UPDATE entries SET made = replace(made, '[10,\"EUR\"]', '[12,\"EUR\"]') WHERE seq = 7 AND IN_PAID",
        rf"{entry(7, OF_PAID)} makes lot 2 at a cost of 12, but what it takes of lot 1, .* 30 is recognised, is 10\.",
    ),
    "a lot that was rolled over costs more": (
        "UPDATE entries SET made = replace(made, '[31,\"EUR\"]', '[32,\"EUR\"]') WHERE seq = 8 AND IN_PAID",
        rf"{entry(8, OF_PAID)} makes lot 3 at a cost of 32, but what it takes of lot 1, .* 61 is lapsed, is 31\.",
    ),
    "a lot that was rolled over costs more than lapsed": (
        "UPDATE entries SET made = replace(made, '[31,\"EUR\"]', '[99,\"EUR\"]') WHERE seq = 8 AND IN_PAID",
        rf"{entry(9, OF_PAID)} leaves lot 1 with 0 deferred, .* and -38 lapsed of its cost, which cannot be\.",
    ),
    "a new lot takes its cost from none": (
        "UPDATE entries SET made = replace(made, '\"taken_from\":1,', '') WHERE seq = 7 AND IN_PAID",
        rf"{entry(9, OF_PAID)} says that 9 EUR of the cost of lot 1 goes from .* to .*, but its share is 19 EUR\.",
    ),
    "a lot that was bought takes its cost from another": (
        'UPDATE entries SET made = replace(made, \'"number"\', \'"taken_from":1,"number"\') WHERE seq = 2 AND IN_PAID',
        rf"{entry(2, OF_PAID)} is of kind grant, and takes the cost of lot 1 from lot 1\.",
    ),
    "more of a lot is deferred": (
        "UPDATE lots SET deferred = 32 WHERE lot = 3 AND IN_PAID",
        rf"{OF_PAID}, lot 3 keeps deferred as 32, but its entries say 31\.",
    ),
    "more of a lot is recognised": (
        "UPDATE lots SET recognised = 15 WHERE lot = 1 AND IN_PAID",
        rf"{OF_PAID}, lot 1 keeps recognised as 15, but its entries say 11\.",
    ),
    "more of a lot has lapsed": (
        "UPDATE lots SET lapsed = 31 WHERE lot = 1 AND IN_PAID",
        rf"{OF_PAID}, lot 1 keeps lapsed as 31, but its entries say 30\.",
    ),
    "words beside an entry were changed": (
        "UPDATE entries SET description = 'refunded' WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} has a hash that is not that of its content and the entry ahead of it\.",
    ),
    "a hash was changed": (
        "UPDATE entries SET hash = zeroblob(32) WHERE seq = 7 AND IN_ACME",
        rf"{entry(8)} has a hash that is not that of its content and the entry ahead of it\.",
    ),
    "an entry makes no lot any more": (
        "UPDATE entries SET made = NULL WHERE seq = 3 AND IN_ACME",
        rf"{entry(18)} makes lot 3 after lot 1; lot numbers have no gaps\.",
    ),
    "an entry makes a larger lot": (
        "UPDATE entries SET made = replace(made, '\"granted\":50', '\"granted\":60') WHERE seq = 3 AND IN_ACME",
        rf"{entry(3)} makes lot 2 of 60, but puts 50 into it\.",
    ),
    "an entry makes a lot on other terms": (
        "UPDATE entries SET made = replace(made, '\"priority\":20', '\"priority\":0') WHERE seq = 3 AND IN_ACME",
        rf"{OF_ACME}, lot 2 keeps priority as 20, but its entries say 0\.",
    ),
    "a refund refunds what comes later": (
        "UPDATE entries SET refunds = 21 WHERE seq = 12 AND IN_ACME",
        rf"{entry(12)} is of kind refund, which does not fit that it refunds entry 21\.",
    ),
    "a deduction says that it refunds something": (
        "UPDATE entries SET refunds = 6 WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} is of kind deduct, which does not fit that it refunds entry 6\.",
    ),
    "more was refunded than was used": (
        "UPDATE lines SET amount = 5 WHERE seq = 7 AND IN_ACME",
        rf"{OF_ACME}: 7 of entry 7 was refunded, which used 5\.",
    ),
    "something was refunded that is no use": (
        "UPDATE entries SET refunds = 5 WHERE seq = 12 AND IN_ACME",
        rf"{OF_ACME}: 4 of entry 5 was refunded, which is not one of use\.",
    ),
    "a revocation takes back no lot": (
        "UPDATE entries SET revokes = NULL WHERE seq = 16 AND IN_ACME",
        rf"{entry(16)} is of kind revoke, which does not fit that it takes back lot None\.",
    ),
    "a refund extends lots until later": (
        "UPDATE entries SET lots_expire_at = '2026-02-01T00:00:00.000000+00:00' WHERE seq = 26 AND IN_ACME",
        rf"{OF_ACME}, lot 1 keeps expires_at as 2026-01-03 00:00:00\+00:00, but its entries say 2026-02-01",
    ),
    "a deduction extends lots": (
        "UPDATE entries SET lots_expire_at = '2026-02-01T00:00:00.000000+00:00' WHERE seq = 7 AND IN_ACME",
        rf"{entry(7)} is of kind deduct, which does not fit that it extends lots\.",
    ),
    "a transfer has lost its other side": (
        "UPDATE entries SET peer_seq = 9 WHERE seq = 13 AND IN_ACME",
        rf"{entry(13)} names en_\w+ as its other side, which is not that\.",
    ),
    "a transfer names the wrong entry": (
        "UPDATE entries SET peer_seq = 1 WHERE seq = 13 AND IN_ACME",
        rf"{entry(13)} names en_\w+ as its other side, which is not that\.",
    ),
    "a transfer names no other side": (
        "UPDATE entries SET peer_key = NULL, peer_seq = NULL WHERE seq = 13 AND IN_ACME",
        rf"{entry(13)} is of kind transfer_out, which does not fit the entry it names on another account\.",
    ),
    "a transfer gives less than the other side takes": (
        "UPDATE lines SET amount = 4 WHERE seq = 13 AND IN_ACME",
        rf"{entry(13)} does not move the same amounts of available as en_\w+ on the other side\.",
    ),
    "a merge brings more than the lead had": (
        "UPDATE lines SET amount = 10 WHERE seq = 27 AND IN_ACME",
        rf"{entry(3, OF_LEAD)} does not move the same amounts of available as en_\w+ on the other side\.",
    ),
    "an entry changes a hold that is not open": (
        "UPDATE entries SET hold = 4 WHERE seq = 9 AND IN_ACME",
        rf"{entry(9)} changes hold 4, which is not open\.",
    ),
    "an entry moves what is held without a hold": (
        "UPDATE entries SET hold = NULL WHERE seq = 9 AND IN_ACME",
        rf"{entry(9)} changes held by -1 without a hold\.",
    ),
    "an entry moves another amount than the hold's": (
        "UPDATE lines SET amount = 2 WHERE seq = 9 AND IN_ACME",
        rf"{entry(9)} changes held by -2, which does not leave hold 8 with 0\.",
    ),
    "an entry says that a hold holds something else": (
        "UPDATE entries SET hold_held = 31 WHERE seq = 11 AND IN_ACME",
        rf"{entry(11)} says that hold 5 holds 31, but it holds 30\.",
    ),
    "a hold is captured after its end": (
        "UPDATE entries SET hold_expires_at = '2026-01-01T00:00:00.000000+00:00' WHERE seq = 4 AND IN_ACME",
        rf"{entry(6)} is of kind capture, but hold 4 runs out at 2026-01-01 00:00:00\+00:00\.",
    ),
    "more is captured than the hold tolerates": (
        "UPDATE lines SET debit = 'available' WHERE seq = 6 AND n = 0 AND IN_ACME",
        rf"{entry(6)} captures 12 more than hold 4 tolerates\.",
    ),
    "a frozen account spends": (
        "UPDATE entries SET kind = 'freeze' WHERE seq = 6 AND IN_ACME",
        rf"{entry(7)} is of kind deduct, but the account was frozen\.",
    ),
    "an account is unfrozen that was not frozen": (
        "UPDATE entries SET kind = 'update' WHERE seq = 14 AND IN_ACME",
        rf"{entry(15)} is of kind unfreeze, but the account was not frozen\.",
    ),
    "an account goes on after it was closed": (
        "UPDATE entries SET kind = 'close' WHERE seq = 14 AND IN_ACME",
        rf"{entry(15)} is of kind unfreeze, but the account was closed\.",
    ),
    "an account is closed with something in it": (
        "UPDATE entries SET kind = 'close' WHERE seq = 14 AND IN_ACME",
        rf"{entry(14)} closes the account, but something is left in it\.",
    ),
    "the account has another head": (
        "UPDATE accounts SET head = zeroblob(32) WHERE IN_ACME",
        rf"{OF_ACME} keeps head as 0{{64}}, but its entries say [0-9a-f]{{64}}\.",
    ),
    "the account has another number of entries": (
        "UPDATE accounts SET seq = 28 WHERE IN_ACME",
        rf"{OF_ACME} keeps seq as 28, but its entries say 27\.",
    ),
    "the account has another number of lots": (
        "UPDATE accounts SET lots = 6 WHERE IN_ACME",
        rf"{OF_ACME} keeps lots as 6, but its entries say 5\.",
    ),
    "the account has another status": (
        "UPDATE accounts SET status = 'frozen' WHERE IN_ACME",
        rf"{OF_ACME} keeps status as frozen, but its entries say open\.",
    ),
    "a closed account is open again": (
        "UPDATE accounts SET status = 'open' WHERE IN_LEAD",
        rf"{OF_LEAD} keeps status as open, but its entries say closed\.",
    ),
    "the account has another time": (
        "UPDATE accounts SET as_of = '2026-01-02T01:00:00.000000+00:00' WHERE IN_ACME",
        rf"{OF_ACME} keeps as_of as 2026-01-02 01:00:00\+00:00, but its entries say 2026-01-02 00:00:00\+00:00\.",
    ),
    "the account has more available": (
        "UPDATE accounts SET available = available + 1 WHERE IN_ACME",
        rf"{OF_ACME} keeps available as 63, but its entries say 62\.",
    ),
    "the account has more than its lots": (
        "UPDATE accounts SET available = available + 1 WHERE IN_ACME",
        rf"{OF_ACME} has 63 available, but 62 remains in its lots\.",
    ),
    "the account has more held": (
        "UPDATE accounts SET held = held + 1 WHERE IN_ACME",
        rf"{OF_ACME} has 37 held, but 30 of its lots is held, and 6 of what a plan covers\.",
    ),
    "the account owes something else": (
        "UPDATE accounts SET owed = 1 WHERE IN_ACME",
        rf"{OF_ACME} keeps owed as 1, but its entries say 3\.",
    ),
    "the account is gone": (
        "DELETE FROM accounts WHERE IN_ACME",
        r"Totals of credits: credits of revenue are kept as 39, but the lines add up to 0\.",
    ),
    "a lot has less": (
        "UPDATE lots SET remaining = remaining - 1 WHERE lot = 2 AND IN_ACME",
        rf"{OF_ACME}, lot 2 keeps remaining as 49, but its entries say 50\.",
    ),
    "more of a lot is spent": (
        "UPDATE lots SET spent = spent + 1 WHERE lot = 3 AND IN_ACME",
        rf"{OF_ACME}, lot 3 keeps spent as 8, but its entries say 7\.",
    ),
    "something of a lot is reclaimed": (
        "UPDATE lots SET reclaimed = 1 WHERE lot = 3 AND IN_ACME",
        rf"{OF_ACME}, lot 3 keeps reclaimed as 1, but its entries say 0\.",
    ),
    "more of a lot is held": (
        "UPDATE lots SET held = held + 1 WHERE lot = 1 AND IN_ACME",
        rf"{OF_ACME}, lot 1 has 31 held, but open holds drew 30\.",
    ),
    "a lot is gone": (
        "DELETE FROM lots WHERE lot = 2 AND IN_ACME",
        rf"{OF_ACME}, lot 2 is not kept, but an entry made it\.",
    ),
    "a lot was added": (
        """INSERT INTO lots
        (account_key, lot, granted, remaining, held, spent, reclaimed, effective_at, priority, open, source)
        SELECT account_key, 6, 5, 5, 0, 0, 0, effective_at, priority, 1, source FROM lots
        WHERE lot = 1 AND IN_ACME""",
        rf"{OF_ACME}, lot 6 is kept, but no entry made it\.",
    ),
    "a lot has another priority": (
        "UPDATE lots SET priority = 0 WHERE lot = 1 AND IN_ACME",
        rf"{OF_ACME}, lot 1 keeps priority as 0, but its entries say 20\.",
    ),
    "a lot has another scope": (
        "UPDATE lots SET scope = 'video/*' WHERE lot = 3 AND IN_ACME",
        rf"{OF_ACME}, lot 3 keeps scope as video/\*, but its entries say image/\*\.",
    ),
    "a lot has cost something": (
        "UPDATE lots SET cost = 5, currency = 'EUR' WHERE lot = 3 AND IN_ACME",
        rf"{OF_ACME}, lot 3 keeps cost as 5 EUR, but its entries say None\.",
    ),
    "a lot that has something is marked as closed": (
        "UPDATE lots SET open = 0 WHERE lot = 2 AND IN_ACME",
        rf"{OF_ACME}, lot 2 is kept as closed, but has 50 remaining and 0 held\.",
    ),
    "a lot that has run out still has something": (
        "UPDATE lots SET expires_at = '2026-01-02T00:00:00.000000+00:00' WHERE lot = 2 AND IN_ACME",
        rf"{OF_ACME}, lot 2 ran out at 2026-01-02 00:00:00\+00:00, by the time of the last entry, but 50 remains",
    ),
    "an open hold has another amount": (
        "UPDATE holds SET amount = 33 WHERE hold = 5 AND IN_ACME",
        rf"{OF_ACME}, hold 5 keeps amount as 33, but its entries say 32\.",
    ),
    "an open hold has been captured more": (
        "UPDATE holds SET captured = 3 WHERE hold = 5 AND IN_ACME",
        rf"{OF_ACME}, hold 5 keeps captured as 3, but its entries say 2\.",
    ),
    "an open hold tolerates more": (
        "UPDATE holds SET tolerance = 1 WHERE hold = 5 AND IN_ACME",
        rf"{OF_ACME}, hold 5 keeps tolerance as 1, but its entries say 0\.",
    ),
    "an open hold drew on other lots": (
        "UPDATE holds SET drawn = '2:30' WHERE hold = 5 AND IN_ACME",
        rf"{OF_ACME}, lot 2 has 0 held, but open holds drew 30\.",
    ),
    "an open hold drew on a lot what a plan had covered": (
        "UPDATE holds SET drawn = '2:6' WHERE hold = 24 AND IN_ACME",
        rf"{OF_ACME}, hold 24 keeps drawn as 6 of lot 2, but its entries say 6 of a plan\.",
    ),
    "an open hold does not honour its lots": (
        "UPDATE holds SET held_lots = 'lapse' WHERE hold = 5 AND IN_ACME",
        rf"{OF_ACME}, hold 5 keeps held_lots as lapse, but its entries say honour\.",
    ),
    "an open hold lasts longer": (
        "UPDATE holds SET expires_at = '2027-01-01T00:00:00.000000+00:00' WHERE hold = 5 AND IN_ACME",
        rf"{OF_ACME}, hold 5 keeps expires_at as 2027-01-01 00:00:00\+00:00, but its entries say 2026-01-08",
    ),
    "an open hold is due later": (
        "UPDATE holds SET due_at = '2027-01-01T00:00:00.000000+00:00' WHERE hold = 5 AND IN_ACME",
        rf"{OF_ACME}, hold 5 keeps due_at as 2027-01-01 00:00:00\+00:00, but its entries say 2026-01-08",
    ),
    "an open hold was due": (
        "UPDATE holds SET due_at = '2026-01-02T00:00:00.000000+00:00' WHERE hold = 5 AND IN_ACME",
        rf"{OF_ACME}, hold 5 was due at 2026-01-02 00:00:00\+00:00, by the time of the last entry, but is open\.",
    ),
    "an open hold is marked as ended": (
        "UPDATE holds SET open = 0, state = 'released' WHERE hold = 5 AND IN_ACME",
        rf"{OF_ACME}, hold 5 is not kept as open, but no entry has ended it\.",
    ),
    "an open hold is gone": (
        "DELETE FROM holds WHERE hold = 5 AND IN_ACME",
        rf"{OF_ACME}, hold 5 is not kept as open, but no entry has ended it\.",
    ),
    "a hold that has ended is open again": (
        "UPDATE holds SET open = 1, state = 'open', ended_at = NULL WHERE hold = 4 AND IN_ACME",
        rf"{OF_ACME}, hold 4 is kept as open, but its entries have ended it\.",
    ),
    "a hold ended otherwise": (
        "UPDATE holds SET state = 'lapsed' WHERE hold = 4 AND IN_ACME",
        rf"{OF_ACME}, hold 4 keeps state as lapsed, but its entries say captured\.",
    ),
    "a hold ended later": (
        "UPDATE holds SET ended_at = '2026-01-01T00:00:01.000000+00:00' WHERE hold = 8 AND IN_ACME",
        rf"{OF_ACME}, hold 8 keeps ended_at as 2026-01-01 00:00:01\+00:00, but its entries say 2026-01-01 00:00:00\+",
    ),
    "a hold that has ended is gone": (
        "DELETE FROM holds WHERE hold = 8 AND IN_ACME",
        rf"{OF_ACME}, hold 8 is not kept, but an entry made it\.",
    ),
    "a total has more": (
        "UPDATE totals SET credits = '40' WHERE code = 'revenue'",
        r"Totals of credits: credits of revenue are kept as 40, but the lines add up to 39\.",
    ),
    "totals do not balance": (
        "UPDATE totals SET credits = '40' WHERE code = 'revenue'",
        r"Totals of credits: debits are \d+, credits \d+; they must be equal\.",
    ),
    "a total is gone": (
        "DELETE FROM totals WHERE code = 'revenue'",
        r"Totals of credits: credits of revenue are kept as 0, but the lines add up to 39\.",
    ),
    "a total is of an asset that has no entries": (
        """INSERT INTO totals (writer, tenant, asset, code, debits, credits)
        VALUES (1, 'default', 'tokens', 'revenue', '0', '5')""",
        r"Totals of tokens: credits of revenue are kept as 5, but the lines add up to 0\.",
    ),
    "something is in clearing": (
        "UPDATE totals SET debits = '15' WHERE code = 'transfers'",
        r"Totals of credits: transfers debits 15 and credits 14; it must be zero\.",
    ),
    "a checkpoint has more": (
        "UPDATE checkpoints SET credits = '40' WHERE code = 'revenue'",
        r"Checkpoint of credits at 2026-01-02 00:00:00\+00:00: credits of revenue are kept as 40, but the lines add up",
    ),
    "an entry came after the checkpoint of its time": (
        "UPDATE entries SET effective_at = '2026-01-02T00:00:01.000000+00:00' WHERE seq = 27 AND IN_ACME",
        r"Checkpoint of credits at 2026-01-02 00:00:00\+00:00: debits of transfers are kept as 14, but the lines",
    ),
}
