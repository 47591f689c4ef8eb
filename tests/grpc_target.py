"""The server as a target of scenarios: asked over gRPC, through the Python client."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import scrip
from google.protobuf.timestamp_pb2 import Timestamp
from scrip import calls
from scrip.v1 import accounts_pb2, ledger_service_pb2, pricing_service_pb2, types_pb2

from ledger import DEFAULT_TENANT, IdPrefix, parse_id, public_id
from tests.asked import Account, Answer, Asked, ShownHold, ShownLot, Standing, Written, WrittenLine
from tests.books import Clock
from tests.ledger_target import PAGE_SIZE
from tests.shown import found_entry, revenue_shown, sold_as

# What the client calls each change.
METHODS: Mapping[str, str] = {
    "open": "open_account",
    "deduct": "check_and_deduct",
    "increase": "increase_hold",
    "extend": "extend_hold",
    "merge": "merge_accounts",
    "freeze": "freeze_account",
    "unfreeze": "unfreeze_account",
    "close": "close_account",
    "update": "update_account",
}
# What it calls what they take.
TAKEN: Mapping[str, str] = {"to": "to_account_id", "into": "into_account_id", "metadata": "account_metadata"}
# What the answer to each change says of its own.
SAID: Mapping[str, tuple[str, ...]] = {
    "grant": ("expires_at", "repaid"),
    "deduct": ("deducted", "became_owed"),
    "hold": ("expires_at", "left"),
    "increase": ("left",),
    "extend": ("expires_at",),
    "capture": ("captured", "released", "left"),
    "release": ("released",),
    "refund": ("refunded", "lapsed", "repaid"),
    "revoke": ("revoked", "became_owed"),
    "adjust": ("repaid",),
    "write_off": ("written_off",),
    "merge": ("moved", "debt_moved"),
}
INSTANTS = frozenset({"expires_at", "now", "ended_at", "held_until", "frees_at", "as_of", "effective_at"})


def _names(enum: Any, prefix: str) -> dict[int, str]:
    return {number: name.removeprefix(prefix).lower() for name, number in enum.items()}


class GrpcTarget:
    """A server, asked through the Python client."""

    cannot: ClassVar = frozenset()
    _kinds: ClassVar = _names(types_pb2.Entry.Kind, "KIND_")
    _codes: ClassVar = _names(types_pb2.Code, "CODE_")
    _money_codes: ClassVar = _names(ledger_service_pb2.MoneyCode, "MONEY_CODE_")
    _sources: ClassVar = _names(types_pb2.Source, "SOURCE_")
    _states: ClassVar = _names(types_pb2.Hold.State, "STATE_")
    _statuses: ClassVar = _names(accounts_pb2.Account.Status, "STATUS_")
    _rules: ClassVar = {**_names(ledger_service_pb2.MovedLot.Rule, "RULE_"), 0: "last"}
    _whys: ClassVar = _names(ledger_service_pb2.PassedLot.Why, "WHY_")

    def __init__(self, client: scrip.Client, clock: Clock) -> None:
        self._client = client
        self.clock = clock

    def open(self, account_id: str) -> None:
        self._client.open_account(account_id, request_id="opening")

    def change(self, asked: Asked) -> Answer:
        def ask() -> Answer:
            method = getattr(self._client, METHODS.get(asked.command, asked.command))
            return _changed(asked, method(**_arguments(asked)))

        return _answered(ask)

    def batch(self, asked: Sequence[Asked], *, atomic: bool) -> tuple[Answer, ...]:
        return self._batch(asked, atomic=atomic, preview=False)

    def preview(self, asked: Sequence[Asked], *, atomic: bool) -> tuple[Answer, ...]:
        if len(asked) > 1 or atomic:
            return self._batch(asked, atomic=atomic, preview=True)

        def ask() -> Answer:
            method = getattr(self._client, METHODS.get(asked[0].command, asked[0].command))
            return _changed(asked[0], method(**_arguments(asked[0]), preview=True))

        return (_answered(ask),)

    def _batch(self, asked: Sequence[Asked], *, atomic: bool, preview: bool) -> tuple[Answer, ...]:
        try:
            made = [getattr(calls, METHODS.get(one.command, one.command))(**_arguments(one)) for one in asked]
            outcomes = self._client.batch(made, atomic=atomic, preview=preview)
        except scrip.ScripError as error:
            return (_refused(error),)
        return tuple(
            _refused(outcome) if isinstance(outcome, scrip.ScripError) else _changed(one, outcome)
            for one, outcome in zip(asked, outcomes, strict=True)
        )

    def asset(self, asked: Asked) -> Answer:
        return _answered(
            lambda: self._client.define_asset(asked.account.asset, **asked.fields) and Answer(outcome="ok")
        )

    def policy(self, asked: Asked) -> Answer:
        def ask() -> Answer:
            fields = dict(asked.fields)
            if welcome := fields.pop("welcome", None):
                fields["welcome"] = scrip.Welcome(**welcome)
            self._client.configure_asset(asked.account.asset, **fields)
            return Answer(outcome="ok")

        return _answered(ask)

    def price(self, asked: Asked) -> Answer:
        def ask() -> Answer:
            fields = {"operations": (), "provider": "*", **asked.fields}
            retire_others = fields.pop("retire_others", False)
            if "meters" in fields:
                fields["meters"] = [_meter(meter) for meter in fields["meters"]]
            if "discount" in fields:
                fields["discount"] = scrip.Discount(**fields["discount"])
            changes = self._client.apply_rate_cards(
                [scrip.RateCard(**fields)], asset=asked.account.asset, retire_others=retire_others
            ).changes
            action = pricing_service_pb2.RateCardChange.Action.Name(changes[0].action)
            figures = {
                "action": action.removeprefix("ACTION_").lower(),
                "version": changes[0].after.version,
                "others": len(changes) - 1,
            }
            return Answer(outcome="ok", figures=figures)

        return _answered(ask)

    def card(self, asked: Asked) -> Answer:
        def ask() -> Answer:
            found = self._client.rate_card(**asked.fields, asset=asked.account.asset)
            figures = {
                "version": found.version,
                "effective_at": _instant(found.effective_at),
                "retired": "yes" if found.retired else "no",
                "fixed": found.fixed or "0",
            }
            return Answer(outcome="ok", figures=figures)

        return _answered(ask)

    def quote(self, asked: Asked) -> Answer:
        def ask() -> Answer:
            found = self._client.quote(**_with_usage(asked.fields), asset=asked.account.asset)
            return Answer(outcome="ok", figures=_charged(found))

        return _answered(ask)

    def check(self, asked: Asked) -> Answer:
        return self._checked(asked, self._client.check)

    def quote_for(self, asked: Asked) -> Answer:
        return self._checked(asked, self._client.quote_for)

    def _checked(self, asked: Asked, method: Callable[..., Any]) -> Answer:
        def ask() -> Answer:
            found = method(**asked.account._asdict(), **_with_usage(asked.fields))
            figures = {
                "allowed": "yes" if found.allowed else "no",
                "spendable": found.available,
                "shortfall": found.shortfall,
                "reason": found.reason or "none",
                "amount": found.amount,
                **_charged(found),
            }
            return Answer(outcome="ok", figures=figures, standing=_standing(found.balance))

        return _answered(ask)

    def balance(self, asked: Asked) -> Answer:
        def ask() -> Answer:
            found = self._client.balance(**asked.account._asdict(), **asked.fields)
            figures = {"scale": found.scale, **({"expiring": found.expiring} if found.HasField("expiring") else {})}
            return Answer(outcome="ok", figures=figures, standing=_standing(found))

        return _answered(ask)

    def balances(self, asked: Asked) -> Answer:
        def ask() -> Answer:
            found = self._client.balances(asked.account.account_id)
            return Answer(outcome="ok", assets=tuple((balance.asset, balance.available) for balance in found))

        return _answered(ask)

    def account(self, asked: Asked) -> Answer:
        def ask() -> Answer:
            found = self._client.account(**asked.account._asdict())
            figures = {
                "status": self._statuses[found.status],
                "reason": found.status_reason or "none",
                "overdraft": found.overdraft_limit,
                "unlimited": "yes" if found.unlimited else "no",
                "time_zone": found.time_zone,
                **{f"account.{key}": said for key, said in found.metadata.items()},
            }
            limits = tuple((limit.name, limit.used, limit.amount) for limit in found.limits)
            return Answer(outcome="ok", figures=figures, standing=_standing(found.balance), limits=limits)

        return _answered(ask)

    def lots(self, asked: Asked) -> Answer:
        def ask() -> Answer:
            found = self._client.lots(**asked.account._asdict(), page_size=PAGE_SIZE, **asked.fields)
            return Answer(outcome="ok", lots=tuple(self._lot(lot) for lot in found))

        return _answered(ask)

    def holds(self, asked: Asked) -> Answer:
        def ask() -> Answer:
            wanted = {**asked.account._asdict(), "page_size": PAGE_SIZE, **asked.fields}
            pages = [self._client.holds_page(**wanted)]
            while pages[-1].next_page_token:
                pages.append(self._client.holds_page(**wanted, page_token=pages[-1].next_page_token))
            found = tuple(self._hold(hold) for page in pages for hold in page.holds)
            return Answer(outcome="ok", standing=_standing(pages[0].balance), holds=found)

        return _answered(ask)

    def history(self, asked: Asked) -> Answer:
        def ask() -> Answer:
            fields = {**asked.account._asdict(), **asked.fields}
            if "page_token" in fields:
                return Answer(outcome="ok", entries=tuple(self._client.history_page(**fields).entries))
            fields["without_lines"] = not fields.pop("lines", True)
            for part, prefix in (("lot", IdPrefix.LOT), ("hold", IdPrefix.HOLD)):
                if part in fields:
                    fields[f"{part}_id"] = public_id(prefix, asked.account.key(DEFAULT_TENANT), fields.pop(part))
            found = self._client.history(**fields, page_size=PAGE_SIZE)
            return Answer(outcome="ok", entries=tuple(self._written(entry) for entry in found))

        return _answered(ask)

    def entry(self, asked: Asked) -> Answer:
        entry_id = public_id(IdPrefix.ENTRY, asked.account.key(DEFAULT_TENANT), asked.fields["number"])
        return _answered(lambda: found_entry(self._written(self._client.entry(entry_id))))

    def explain(self, asked: Asked) -> Answer:
        def ask() -> Answer:
            found = self._client.explain(_part_id(asked))
            moved = ((self._lot(one.lot), one) for one in found.moved)
            return Answer(
                outcome="ok",
                moved=tuple(
                    (lot.number, one.remaining_before, lot.remaining, self._rules[one.rule]) for lot, one in moved
                ),
                passed=tuple((_number(IdPrefix.LOT, one.lot.lot_id), self._whys[one.why]) for one in found.passed),
                limits=tuple((limit.name, limit.used, limit.limit_amount) for limit in found.limits),
            )

        return _answered(ask)

    def trial_balance(self, asked: Asked) -> Answer:
        def ask() -> Answer:
            (found,) = self._client.trial_balance(asset=asked.account.asset, **asked.fields).assets
            totals = {self._codes[row.code]: (int(row.debits), int(row.credits)) for row in found.rows}
            return Answer(outcome="ok", totals=totals)

        return _answered(ask)

    def money(self, asked: Asked) -> Answer:
        def ask() -> Answer:
            found = self._client.money_trial_balance(**asked.fields).currencies
            totals = {
                self._money_codes[row.code]: (int(row.debits), int(row.credits)) for one in found for row in one.rows
            }
            return Answer(outcome="ok", totals=totals)

        return _answered(ask)

    def revenue(self, asked: Asked) -> Answer:
        fields = dict(asked.fields)
        sold = sold_as(fields.pop("package"), fields.pop("currency"))
        return _answered(lambda: revenue_shown(self._client.revenue(**fields).rows, sold))

    def assets(self) -> Iterable[str]:
        return [asset.asset for asset in self._client.assets()]

    def audit(self) -> Iterable[str]:
        return self._client.audit().findings

    def _lot(self, lot: types_pb2.Lot) -> ShownLot:
        number, expires_at = _number(IdPrefix.LOT, lot.lot_id), _said(lot, "expires_at")
        figures = {
            **{name: getattr(lot, name) for name in ("remaining", "held", "granted", "spent", "reclaimed", "priority")},
            "source": self._sources[lot.source],
            "effective_at": _instant(lot.effective_at),
            "expires_at": expires_at,
            "cost": f"{lot.cost.minor_units}{lot.cost.currency}" if lot.HasField("cost") else "none",
            "scope": ",".join(lot.scope) or "all",
            "package": lot.package or "none",
        }
        return ShownLot(number, lot.remaining, lot.held, None if expires_at == "never" else expires_at, figures)

    def _hold(self, hold: types_pb2.Hold) -> ShownHold:
        number = _number(IdPrefix.HOLD, hold.hold_id)
        return ShownHold(number, hold.held, hold.captured, _instant(hold.expires_at), self._states[hold.state])

    def _written(self, entry: scrip.Entry) -> Written:
        return Written(
            number=entry.seq,
            kind=self._kinds[entry.kind],
            is_written=entry.HasField("recorded_at"),
            effective_at=_instant(entry.effective_at),
            standing=_standing(entry.balance),
            lines=tuple(
                WrittenLine(
                    self._codes[line.debit],
                    self._codes[line.credit],
                    line.amount,
                    _number(IdPrefix.LOT, line.lot_id) if line.lot_id else None,
                )
                for line in entry.lines
            ),
            made=tuple(_number(IdPrefix.LOT, lot.lot_id) for lot in entry.lots),
            peer=_number(IdPrefix.ENTRY, entry.peer_entry_id) if entry.peer_entry_id else None,
        )


def _arguments(asked: Asked) -> dict[str, Any]:
    """What a change takes, by the client's names."""
    named = {f"{asked.part}_id": _part_id(asked)} if asked.part else asked.account._asdict()
    fields = {
        TAKEN.get(name, name): said.account_id if isinstance(said, Account) else said
        for name, said in asked.fields.items()
    }
    if "limits" in fields:
        fields["limits"] = [_limit(**limit) for limit in fields["limits"]]
    return {"request_id": asked.request_id, **asked.memo, **named, **_with_usage(fields)}


def _with_usage(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is said, with usage as the client takes it."""
    return {**fields, **({"usage": scrip.Usage(**fields["usage"])} if "usage" in fields else {})}


def _meter(said: Mapping[str, Any]) -> scrip.Meter:
    return scrip.Meter(**{**said, "tiers": [scrip.Tier(**tier) for tier in said.get("tiers", ())]})


def _charged(answer: Any) -> dict[str, Any]:
    charge = getattr(answer, "charge", None)
    # A message always has one, though perhaps an empty one.
    if charge is None or not charge.card:
        return {}
    return {
        "charged": charge.amount,
        "by": f"{charge.card}@{charge.version}",
        "exact": charge.exact,
        "free": sum(part.free for part in charge.parts),
        "discount": charge.discount_percent or "none",
    }


def _limit(*, name: str, window: str, amount: int, length: Any, operation: str) -> scrip.SpendLimit:
    return scrip.SpendLimit(name=name, window=window if length is None else length, amount=amount, operation=operation)


def _part_id(asked: Asked) -> str:
    return public_id(IdPrefix[asked.part.upper()], asked.account.key(DEFAULT_TENANT), asked.number)


def _answered(ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except scrip.ScripError as error:
        return _refused(error)


def _refused(error: scrip.ScripError) -> Answer:
    figures = {
        name: datetime.fromisoformat(said) if name in INSTANTS else said for name, said in error.metadata.items()
    }
    return Answer(outcome=error.reason_name or error.code.name, figures=figures)


def _changed(asked: Asked, response: Any) -> Answer:
    """What became of a change. A preview has no entry to name."""
    number = _number(IdPrefix.ENTRY, response.entry_id) if response.entry_id else 0
    lot_ids = [getattr(response, name, "") for name in ("lot_id", "welcome_lot_id")]
    made = [_number(IdPrefix.LOT, lot_id) for lot_id in [*lot_ids, *getattr(response, "lot_ids", ())] if lot_id]
    # Where the client makes an object of a hold, its amount is what was set aside.
    left = "amount" if isinstance(response, scrip.Hold) else "held"
    figures = {name: _said(response, left if name == "left" else name) for name in SAID.get(asked.command, ())}
    return Answer(
        outcome="replayed" if response.replayed else "ok",
        figures={"entry": number, "scale": response.balance.scale, **figures, **_charged(response)},
        number=number,
        made=tuple(made),
        standing=_standing(response.balance),
    )


def _said(message: Any, name: str) -> Any:
    value = getattr(message, name)
    if not isinstance(value, Timestamp):
        return value
    return _instant(value) if message.HasField(name) else "never"


def _number(prefix: IdPrefix, text: str) -> int:
    return parse_id(prefix, text)[1]


def _standing(balance: scrip.Balance) -> Standing:
    return Standing(balance.available, balance.held, balance.owed, balance.pending)


def _instant(message: Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)
