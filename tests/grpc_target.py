"""The server as a target of scenarios: asked over gRPC, through the Python client."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar

import scrip
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1 import types_pb2

from ledger import DEFAULT_TENANT, IdPrefix, parse_id, public_id
from tests.books import Clock
from tests.targets import Account, Answer, Asked, Standing, Written, WrittenLine, found_entry


class GrpcTarget:
    """A server, asked through the Python client."""

    _kinds: ClassVar = {number: name.removeprefix("KIND_").lower() for name, number in types_pb2.Entry.Kind.items()}
    _codes: ClassVar = {number: name.removeprefix("CODE_").lower() for name, number in types_pb2.Code.items()}
    _instants: ClassVar = {"expires_at", "now", "ended_at", "held_until"}

    def __init__(self, client: scrip.Client, clock: Clock) -> None:
        self._client = client
        self.clock = clock

    def open(self, account_id: str) -> None:
        self._client.open_account(account_id, request_id="opening")

    def change(self, asked: Asked) -> Answer:
        return self._answered(lambda: self._changed(asked))

    def _changed(self, asked: Asked) -> Answer:
        client, common = self._client, {"request_id": asked.request_id, **asked.memo}
        account_id, asset = asked.account
        hold_id = public_id(IdPrefix.HOLD, asked.account.key(DEFAULT_TENANT), asked.hold)
        figures: dict[str, Any] = {}
        match asked.command:
            case "open":
                response = client.open_account(account_id, asset=asset, **common)
            case "grant":
                response = client.grant(
                    account_id,
                    asked.amount,
                    asked.source,
                    asset=asset,
                    priority=asked.priority,
                    effective_at=asked.effective_at,
                    expires_at=asked.expires_at,
                    ttl=asked.ttl,
                    cost=asked.cost,
                    **common,
                )
                figures["expires_at"] = _instant(response.expires_at) if response.HasField("expires_at") else "never"
            case "deduct":
                response = client.check_and_deduct(account_id, asked.amount, asset=asset, **common)
            case "hold":
                response = client.hold(account_id, asked.amount, ttl=asked.ttl, asset=asset, **common)
                figures["expires_at"] = response.expires_at
            case "capture":
                response = client.capture(hold_id, asked.amount, **common)
                figures |= {"captured": response.captured, "released": response.released}
            case "release":
                response = client.release(hold_id, **common)
                figures["released"] = response.released
        _, number = parse_id(IdPrefix.ENTRY, response.entry_id)
        return Answer(
            outcome="replayed" if response.replayed else "ok",
            figures={"entry": number, "scale": response.balance.scale, **figures},
            number=number,
            standing=self._standing(response.balance),
        )

    def define_asset(self, asset: str, scale: int) -> Answer:
        return self._answered(lambda: self._client.define_asset(asset, scale=scale) and Answer(outcome="ok"))

    def balance(self, account: Account) -> Answer:
        def ask() -> Answer:
            balance = self._client.balance(account.account_id, asset=account.asset)
            return Answer(outcome="ok", figures={"scale": balance.scale}, standing=self._standing(balance))

        return self._answered(ask)

    def balances(self, account_id: str) -> Answer:
        def ask() -> Answer:
            found = self._client.balances(account_id)
            return Answer(outcome="ok", assets=tuple((balance.asset, balance.available) for balance in found))

        return self._answered(ask)

    def history(self, account: Account, page_token: str) -> Answer:
        def ask() -> Answer:
            if page_token:
                entries = self._client.history_page(
                    account.account_id, asset=account.asset, page_token=page_token
                ).entries
            else:
                entries = self._client.history(account.account_id, asset=account.asset)
            return Answer(outcome="ok", entries=tuple(self._written(entry) for entry in entries))

        return self._answered(ask)

    def entry(self, account: Account, number: int) -> Answer:
        entry_id = public_id(IdPrefix.ENTRY, account.key(DEFAULT_TENANT), number)
        return self._answered(lambda: found_entry(self._written(self._client.entry(entry_id))))

    def trial_balance(self, asset: str) -> Answer:
        def ask() -> Answer:
            (found,) = self._client.trial_balance(asset=asset).assets
            totals = {self._codes[row.code]: (int(row.debits), int(row.credits)) for row in found.rows}
            return Answer(outcome="ok", totals=totals)

        return self._answered(ask)

    def assets(self) -> Iterable[str]:
        return [asset.asset for asset in self._client.assets()]

    def audit(self) -> Iterable[str]:
        return self._client.audit().findings

    def _answered(self, ask: Callable[[], Answer]) -> Answer:
        try:
            return ask()
        except scrip.ScripError as error:
            figures = {
                name: datetime.fromisoformat(said) if name in self._instants else said
                for name, said in error.metadata.items()
            }
            for name in figures.keys() & {"available", "held"}:
                figures[name] = int(figures[name])
            return Answer(outcome=error.reason_name or error.code.name, figures=figures)

    def _written(self, entry: scrip.Entry) -> Written:
        return Written(
            number=entry.seq,
            kind=self._kinds[entry.kind],
            is_written=entry.HasField("recorded_at"),
            effective_at=_instant(entry.effective_at),
            standing=self._standing(entry.balance),
            lines=tuple(
                WrittenLine(
                    self._codes[line.debit],
                    self._codes[line.credit],
                    line.amount,
                    parse_id(IdPrefix.LOT, line.lot_id)[1] if line.lot_id else None,
                )
                for line in entry.lines
            ),
        )

    @staticmethod
    def _standing(balance: scrip.Balance) -> Standing:
        return Standing(balance.available, balance.held, balance.owed, balance.pending)


def _instant(message: Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)
