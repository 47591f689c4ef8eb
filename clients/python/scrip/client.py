"""Client and AsyncClient: the calls of scrip.calls, run blocking or awaited."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from types import GenericAlias, TracebackType
from typing import Any, Concatenate, ParamSpec, Self

import grpc

from scrip import calls
from scrip.arguments import truth
from scrip.batching import AsyncBatchingConnection, BatchingConnection
from scrip.calls.call import Answer, Call, Item, Pages, Stream
from scrip.connection import AsyncConnection, Connection
from scrip.errors import ScripError
from scrip.holds import AsyncHold, AsyncHoldRequest, Hold
from scrip.signatures import described_by
from scrip.v1.credit_service_pb2 import HoldResponse

P = ParamSpec("P")

DEFAULT_TARGET = "127.0.0.1:50051"
DEFAULT_DEADLINE_S = 5.0


def _blocking(make: Callable[P, Call[Answer]]) -> Callable[Concatenate["Client", P], Answer]:
    @described_by(make)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return self._connection.run(make(*args, **kwargs))

    return method


def _awaiting(make: Callable[P, Call[Answer]]) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, Answer]]:
    @described_by(make)
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return await self._connection.run(make(*args, **kwargs))

    return method


def _blocking_pages(make: Callable[P, Pages[Item]]) -> Callable[Concatenate["Client", P], Iterator[Item]]:
    def walk(connection: Connection, page: Call[Any] | None) -> Iterator[Item]:
        while page is not None:
            items, page = connection.run(page)
            yield from items

    @described_by(make, answers=lambda item: GenericAlias(Iterator, (item,)))
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Item]:
        return walk(self._connection, make(*args, **kwargs).first)

    return method


def _awaiting_pages(make: Callable[P, Pages[Item]]) -> Callable[Concatenate["AsyncClient", P], AsyncIterator[Item]]:
    async def walk(connection: AsyncConnection, page: Call[Any] | None) -> AsyncIterator[Item]:
        while page is not None:
            items, page = await connection.run(page)
            for item in items:
                yield item

    @described_by(make, answers=lambda item: GenericAlias(AsyncIterator, (item,)))
    def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Item]:
        return walk(self._connection, make(*args, **kwargs).first)

    return method


def _blocking_stream(
    make: Callable[Concatenate[Any, P], Stream[Item]],
) -> Callable[Concatenate["Client", Iterable[Call[Item]], P], Iterator[Item | ScripError]]:
    @described_by(make, answers=lambda item: GenericAlias(Iterator, (item | ScripError,)))
    def method(
        self: "Client", calls: Iterable[Call[Item]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Iterator[Item | ScripError]:
        return self._connection.stream(make(calls, *args, **kwargs))

    return method


def _awaiting_stream(
    make: Callable[Concatenate[Any, P], Stream[Item]],
) -> Callable[
    Concatenate["AsyncClient", Iterable[Call[Item]] | AsyncIterable[Call[Item]], P], AsyncIterator[Item | ScripError]
]:
    @described_by(make, answers=lambda item: GenericAlias(AsyncIterator, (item | ScripError,)))
    def method(
        self: "AsyncClient",
        calls: Iterable[Call[Item]] | AsyncIterable[Call[Item]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncIterator[Item | ScripError]:
        return self._connection.stream(make(calls, *args, **kwargs))

    return method


def _blocking_hold(make: Callable[P, Call[HoldResponse]]) -> Callable[Concatenate["Client", P], Hold]:
    @described_by(make, answers=lambda _: Hold)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Hold:
        call = make(*args, **kwargs)
        return Hold(self._connection, call, self._connection.run(call))

    return method


def _awaiting_hold(
    make: Callable[P, Call[HoldResponse]],
) -> Callable[Concatenate["AsyncClient", P], AsyncHoldRequest]:
    async def ask(connection: AsyncConnection, call: Call[HoldResponse]) -> AsyncHold:
        return AsyncHold(connection, call, await connection.run(call))

    @described_by(make, answers=lambda _: AsyncHoldRequest)
    def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> AsyncHoldRequest:
        return AsyncHoldRequest(ask(self._connection, make(*args, **kwargs)))

    return method


class Client:
    """Asks a Scrip server, and blocks until it has answered. One client may be shared between threads.

    Every method is one call, documented with it. Answers are the contract's messages; errors are ScripErrors. Amounts
    are whole numbers of the asset's smallest unit. Arguments that calls have in common:

    account_id     the customer; 1 to 128 printable ASCII characters
    asset          what is counted, such as "credits"
    request_id     names a change, unique per account; 1 to 128 printable ASCII characters. A repeat with the same
                   content does nothing and is answered alike, with `replayed` true. None makes one per call; give one
                   of your own, such as an order number, to be safe across crashes of your own process
    description    to be written beside the entry, for a reader; at most 500 characters
    reference      the caller's own key for what this belongs to; at most 200 characters
    actor          who asked for it on the caller's side; at most 200 characters
    metadata       at most 20 pairs; keys of 1 to 40 characters, values of at most 500
    preview        True: answer as if it were done, or refuse as it would be, and write nothing
    deadline_s     seconds until an answer, all attempts together; None for the client's own

    A call that finds the server UNAVAILABLE is repeated up to four times with the same request_id, within its
    deadline. If that does not help, the error's `request_id` lets the caller repeat it later.

    A client belongs to the process that made it; after a fork, make another.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        deadline_s: float = DEFAULT_DEADLINE_S,
        channel_options: Sequence[tuple[str, Any]] = (),
        credentials: grpc.ChannelCredentials | None = None,
        batching: bool = False,
    ) -> None:
        """Prepare a connection; it opens with the first call.

        target            host and port, or another gRPC target, such as "dns:///scrip:50051"
        deadline_s        seconds until an answer, for calls that do not say otherwise
        channel_options   gRPC's, over the client's own
        credentials       such as grpc.ssl_channel_credentials(); None for a connection in the clear
        batching          True: changes that are made at the same time travel together, which costs much less than a
                          call for each. Nothing else changes: each has its own answer or error, deadline and attempts
        """
        kind = BatchingConnection if truth("batching", batching) else Connection
        self._connection = kind(target, deadline_s, channel_options, credentials)

    open_account = _blocking(calls.open_account)
    grant = _blocking(calls.grant)
    check = _blocking(calls.check)
    check_and_deduct = _blocking(calls.check_and_deduct)
    hold = _blocking_hold(calls.hold)
    increase_hold = _blocking(calls.increase_hold)
    extend_hold = _blocking(calls.extend_hold)
    capture = _blocking(calls.capture)
    release = _blocking(calls.release)
    refund = _blocking(calls.refund)
    transfer = _blocking(calls.transfer)
    batch = _blocking(calls.batch)
    balance = _blocking(calls.balance)
    balances = _blocking(calls.balances)
    lots = _blocking_pages(calls.lots)
    lots_page = _blocking(calls.lots_page)
    holds = _blocking_pages(calls.holds)
    holds_page = _blocking(calls.holds_page)
    history = _blocking_pages(calls.history)
    history_page = _blocking(calls.history_page)

    account = _blocking(calls.account)
    update_account = _blocking(calls.update_account)
    freeze_account = _blocking(calls.freeze_account)
    unfreeze_account = _blocking(calls.unfreeze_account)
    close_account = _blocking(calls.close_account)
    merge_accounts = _blocking(calls.merge_accounts)
    revoke = _blocking(calls.revoke)
    adjust = _blocking(calls.adjust)
    write_off = _blocking(calls.write_off)
    bulk_grant = _blocking_stream(calls.bulk_grant)

    define_asset = _blocking(calls.define_asset)
    configure_asset = _blocking(calls.configure_asset)
    assets = _blocking(calls.assets)
    trial_balance = _blocking(calls.trial_balance)
    money_trial_balance = _blocking(calls.money_trial_balance)
    revenue = _blocking(calls.revenue)
    entry = _blocking(calls.entry)
    explain = _blocking(calls.explain)
    audit = _blocking(calls.audit)

    quote = _blocking(calls.quote)
    quote_for = _blocking(calls.quote_for)
    apply_rate_cards = _blocking(calls.apply_rate_cards)
    rate_card = _blocking(calls.rate_card)
    rate_cards = _blocking(calls.rate_cards)

    create_package = _blocking(calls.create_package)
    update_package = _blocking(calls.update_package)
    deactivate_package = _blocking(calls.deactivate_package)
    packages = _blocking(calls.packages)
    put_plan = _blocking(calls.put_plan)
    plans = _blocking(calls.plans)
    create_checkout = _blocking(calls.create_checkout)
    checkout = _blocking(calls.checkout)
    fulfil = _blocking(calls.fulfil)
    orders = _blocking_pages(calls.orders)
    orders_page = _blocking(calls.orders_page)
    create_purchase_link = _blocking(calls.create_purchase_link)
    subscriptions = _blocking_pages(calls.subscriptions)
    subscriptions_page = _blocking(calls.subscriptions_page)
    set_auto_recharge = _blocking(calls.set_auto_recharge)
    auto_recharge = _blocking(calls.auto_recharge)
    stripe_events = _blocking_pages(calls.stripe_events)
    stripe_events_page = _blocking(calls.stripe_events_page)
    replay_stripe_event = _blocking(calls.replay_stripe_event)
    reconcile = _blocking(calls.reconcile)

    def close(self) -> None:
        """Close the connection; calls under way are cancelled. A closed client is not opened again."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """Asks a Scrip server without blocking the event loop: the methods of Client, awaited.

    `history`, `lots`, `holds`, `orders`, `subscriptions`, `stripe_events` and `bulk_grant` are iterated with `async
    for`; `hold` is awaited for an AsyncHold, or entered with `async with`. The connection opens with the first call
    and belongs to the event loop of that call, so a client may be made before there is a loop. The arguments are those
    of Client.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        deadline_s: float = DEFAULT_DEADLINE_S,
        channel_options: Sequence[tuple[str, Any]] = (),
        credentials: grpc.ChannelCredentials | None = None,
        batching: bool = False,
    ) -> None:
        """Prepare a connection; the arguments are those of Client."""
        kind = AsyncBatchingConnection if truth("batching", batching) else AsyncConnection
        self._connection = kind(target, deadline_s, channel_options, credentials)

    open_account = _awaiting(calls.open_account)
    grant = _awaiting(calls.grant)
    check = _awaiting(calls.check)
    check_and_deduct = _awaiting(calls.check_and_deduct)
    hold = _awaiting_hold(calls.hold)
    increase_hold = _awaiting(calls.increase_hold)
    extend_hold = _awaiting(calls.extend_hold)
    capture = _awaiting(calls.capture)
    release = _awaiting(calls.release)
    refund = _awaiting(calls.refund)
    transfer = _awaiting(calls.transfer)
    batch = _awaiting(calls.batch)
    balance = _awaiting(calls.balance)
    balances = _awaiting(calls.balances)
    lots = _awaiting_pages(calls.lots)
    lots_page = _awaiting(calls.lots_page)
    holds = _awaiting_pages(calls.holds)
    holds_page = _awaiting(calls.holds_page)
    history = _awaiting_pages(calls.history)
    history_page = _awaiting(calls.history_page)

    account = _awaiting(calls.account)
    update_account = _awaiting(calls.update_account)
    freeze_account = _awaiting(calls.freeze_account)
    unfreeze_account = _awaiting(calls.unfreeze_account)
    close_account = _awaiting(calls.close_account)
    merge_accounts = _awaiting(calls.merge_accounts)
    revoke = _awaiting(calls.revoke)
    adjust = _awaiting(calls.adjust)
    write_off = _awaiting(calls.write_off)
    bulk_grant = _awaiting_stream(calls.bulk_grant)

    define_asset = _awaiting(calls.define_asset)
    configure_asset = _awaiting(calls.configure_asset)
    assets = _awaiting(calls.assets)
    trial_balance = _awaiting(calls.trial_balance)
    money_trial_balance = _awaiting(calls.money_trial_balance)
    revenue = _awaiting(calls.revenue)
    entry = _awaiting(calls.entry)
    explain = _awaiting(calls.explain)
    audit = _awaiting(calls.audit)

    quote = _awaiting(calls.quote)
    quote_for = _awaiting(calls.quote_for)
    apply_rate_cards = _awaiting(calls.apply_rate_cards)
    rate_card = _awaiting(calls.rate_card)
    rate_cards = _awaiting(calls.rate_cards)

    create_package = _awaiting(calls.create_package)
    update_package = _awaiting(calls.update_package)
    deactivate_package = _awaiting(calls.deactivate_package)
    packages = _awaiting(calls.packages)
    put_plan = _awaiting(calls.put_plan)
    plans = _awaiting(calls.plans)
    create_checkout = _awaiting(calls.create_checkout)
    checkout = _awaiting(calls.checkout)
    fulfil = _awaiting(calls.fulfil)
    orders = _awaiting_pages(calls.orders)
    orders_page = _awaiting(calls.orders_page)
    create_purchase_link = _awaiting(calls.create_purchase_link)
    subscriptions = _awaiting_pages(calls.subscriptions)
    subscriptions_page = _awaiting(calls.subscriptions_page)
    set_auto_recharge = _awaiting(calls.set_auto_recharge)
    auto_recharge = _awaiting(calls.auto_recharge)
    stripe_events = _awaiting_pages(calls.stripe_events)
    stripe_events_page = _awaiting(calls.stripe_events_page)
    replay_stripe_event = _awaiting(calls.replay_stripe_event)
    reconcile = _awaiting(calls.reconcile)

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled. A closed client is not opened again."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
