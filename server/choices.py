"""Enums of the contract and of the ledger, which have the same names and mean the same."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from scrip.v1 import accounts_pb2 as accounts_pb
from scrip.v1 import billing_service_pb2 as billing_pb
from scrip.v1 import credit_service_pb2 as credit_pb
from scrip.v1 import ledger_service_pb2 as ledger_pb
from scrip.v1 import pricing_service_pb2 as pricing_pb
from scrip.v1 import types_pb2 as types_pb

from ledger import (
    AccountStatus,
    AccountType,
    CardAction,
    Change,
    Code,
    DeductMode,
    Direction,
    EntryKind,
    EventState,
    ExpiredLots,
    Granted,
    HeldLots,
    HoldState,
    MoneyCode,
    OrderKind,
    OrderState,
    Rounding,
    Rule,
    Source,
    SpentPart,
    SubscriptionState,
    Tiering,
    Why,
    Window,
)
from server.times import malformed

Choice = TypeVar("Choice", bound=StrEnum)


class Choices(Generic[Choice]):
    """An enum of the ledger in the contract.

    enum     of the contract
    prefix   of its values' names
    choices  of the ledger, those that the contract has
    """

    def __init__(self, enum: Any, prefix: str, choices: Iterable[Choice]) -> None:  # noqa: ANN401 -- protobuf shares no type
        self._enum = enum
        self.values: Mapping[Choice, Any] = MappingProxyType(
            {choice: enum.Value(f"{prefix}_{choice.name}") for choice in choices}
        )
        self._choices: Mapping[int, Choice] = {value: choice for choice, value in self.values.items()}

    def __call__(self, field: str, value: int, usual: Choice | None = None) -> Choice:
        """What a value means.

        usual    what it means to say nothing; None: it has to be said
        raises   MalformedError
        """
        if value == 0 and usual is not None:
            return usual
        if value not in self._choices:
            names = ", ".join(self._enum.Name(known) for known in self._choices)
            raise malformed(field, f"must be one of {names}.")
        return self._choices[value]


SOURCES: Final = Choices(types_pb.Source, "SOURCE", Source)
CODES: Final = Choices(types_pb.Code, "CODE", Code)
KINDS: Final = Choices(types_pb.Entry.Kind, "KIND", EntryKind)
STATES: Final = Choices(types_pb.Hold.State, "STATE", HoldState)
HELD_LOTS: Final = Choices(types_pb.HeldLots, "HELD_LOTS", HeldLots)
MODES: Final = Choices(credit_pb.CheckAndDeductRequest.Mode, "MODE", DeductMode)
EXPIRED_LOTS: Final = Choices(credit_pb.RefundRequest.ExpiredLots, "EXPIRED_LOTS", ExpiredLots)
SPENT: Final = Choices(accounts_pb.RevokeRequest.Spent, "SPENT", SpentPart)
DIRECTIONS: Final = Choices(accounts_pb.AdjustRequest.Direction, "DIRECTION", Direction)
WINDOWS: Final = Choices(accounts_pb.SpendLimit.Window, "WINDOW", Window)
STATUSES: Final = Choices(accounts_pb.Account.Status, "STATUS", AccountStatus)
MONEY_CODES: Final = Choices(ledger_pb.MoneyCode, "MONEY_CODE", MoneyCode)
TYPES: Final = Choices(ledger_pb.TrialBalanceRow.Type, "TYPE", AccountType)
RULES: Final = Choices(ledger_pb.MovedLot.Rule, "RULE", Rule)
WHYS: Final = Choices(ledger_pb.PassedLot.Why, "WHY", Why)
ORDER_KINDS: Final = Choices(billing_pb.Order.Kind, "KIND", OrderKind)
ORDER_STATES: Final = Choices(billing_pb.Order.State, "STATE", OrderState)
PLAN_CHANGES: Final = Choices(billing_pb.Plan.Change, "CHANGE", Change)
PLAN_GRANTED: Final = Choices(billing_pb.Plan.Granted, "GRANTED", Granted)
SUBSCRIPTION_STATES: Final = Choices(billing_pb.Subscription.State, "STATE", SubscriptionState)
EVENT_STATES: Final = Choices(billing_pb.StripeEvent.State, "STATE", EventState)
ROUNDINGS: Final = Choices(pricing_pb.RateCard.Rounding, "ROUNDING", Rounding)
PERIODS: Final = Choices(pricing_pb.RateCard.Period, "PERIOD", (Window.HOUR, Window.DAY, Window.MONTH))
TIERINGS: Final = Choices(pricing_pb.Meter.Tiering, "TIERING", Tiering)
CARD_ACTIONS: Final = Choices(pricing_pb.RateCardChange.Action, "ACTION", CardAction)
