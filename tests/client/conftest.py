"""Each law is shown on both clients, the one that blocks and the one that is awaited, with and without batching."""

import asyncio
import json
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from scrip import AsyncClient, Client, batching, connection, streams

from server.config import Settings
from tests.client.scripted import Script, serving
from tests.client.together import Tasks, Threads
from tests.running_server import RunningServer

END = object()
Body = Callable[[Any], Generator[Any, Any, None]]


def _next(steps: Generator[Any, Any, None], answer: Any) -> Any:
    """Give a body the answer of its last step, and get its next; END when there is none."""
    try:
        return steps.send(answer)
    except StopIteration:
        return END


class Blocking:
    """Uses Client; with `batching`, one whose changes travel together."""

    def __init__(self, *, batching: bool) -> None:
        self._batching = batching

    def ask(self, target: str, do: Callable[[Any], Any], **settings: Any) -> Any:
        """Do one call on a client of its own."""
        with Client(target, batching=self._batching, **settings) as client:
            return do(client)

    def walk(self, target: str, do: Callable[[Any], Any]) -> list[Any]:
        """List what an iterator gives."""
        with Client(target, batching=self._batching) as client:
            return list(do(client))

    def block(self, target: str, body: Body, **holding: Any) -> Any:
        """Run a body as the block of a hold of 60; what the body yields is awaited where that is needed."""
        with Client(target, batching=self._batching) as client, client.hold("acme", 60, **holding) as hold:
            steps = body(hold)
            answer = None
            while (answer := _next(steps, answer)) is not END:
                pass
        return hold

    def hold(self, target: str, *args: Any, **kwargs: Any) -> Any:
        """Make a hold without a block."""
        with Client(target, batching=self._batching) as client:
            return client.hold(*args, **kwargs)


class Awaiting:
    """Uses AsyncClient; with `batching`, one whose changes travel together."""

    def __init__(self, *, batching: bool) -> None:
        self._batching = batching

    def ask(self, target: str, do: Callable[[Any], Any], **settings: Any) -> Any:
        async def main() -> Any:
            async with AsyncClient(target, batching=self._batching, **settings) as client:
                return await do(client)

        return asyncio.run(main())

    def walk(self, target: str, do: Callable[[Any], Any]) -> list[Any]:
        async def main() -> list[Any]:
            async with AsyncClient(target, batching=self._batching) as client:
                return [item async for item in do(client)]

        return asyncio.run(main())

    def block(self, target: str, body: Body, **holding: Any) -> Any:
        async def main() -> Any:
            async with (
                AsyncClient(target, batching=self._batching) as client,
                client.hold("acme", 60, **holding) as hold,
            ):
                steps = body(hold)
                answer = None
                while (step := _next(steps, answer)) is not END:
                    answer = await step
            return hold

        return asyncio.run(main())

    def hold(self, target: str, *args: Any, **kwargs: Any) -> Any:
        async def main() -> Any:
            async with AsyncClient(target, batching=self._batching) as client:
                return await client.hold(*args, **kwargs)

        return asyncio.run(main())


def _sooner(config: str) -> str:
    """A service config whose pauses are a tenth as long."""
    found = json.loads(config)
    found["methodConfig"][1]["retryPolicy"] |= {"initialBackoff": "0.01s", "maxBackoff": "0.2s"}
    return json.dumps(found)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have clients try again sooner: gRPC for them, or they themselves."""
    for module in (batching, streams):
        monkeypatch.setattr(module, "PAUSES_S", (0.05, 0.1, 0.1, 0.1))
    for options in (connection.OPTIONS, batching._DEFAULTS):  # noqa: SLF001 -- what callers do not say
        monkeypatch.setitem(options, "grpc.service_config", _sooner(options["grpc.service_config"]))


@pytest.fixture(params=["blocking", "awaiting", "blocking-batching", "awaiting-batching"])
def way(request: pytest.FixtureRequest) -> Blocking | Awaiting:
    kind, _, together = request.param.partition("-")
    return {"blocking": Blocking, "awaiting": Awaiting}[kind](batching=bool(together))


@pytest.fixture(params=[Threads, Tasks], ids=["threads", "tasks"])
def many(request: pytest.FixtureRequest) -> Threads | Tasks:
    return request.param()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def target(script: Script) -> Iterator[str]:
    with serving(script) as address:
        yield address


@pytest.fixture
def books(sqlite_url, clock):
    """The address of a server whose clock is `clock`, on empty books that are audited afterwards."""
    settings = Settings(database=sqlite_url, listen="127.0.0.1:0", sweep_s=0, drain_s=0)
    with RunningServer(settings, clock) as server:
        yield f"127.0.0.1:{server.port}"
