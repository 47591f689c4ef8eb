"""What all handlers share: who asks, how reads run, and what becomes of an exception."""

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from contextlib import aclosing
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

import grpc
import structlog
from google.rpc.status_pb2 import Status

from ledger import (
    DEFAULT_TENANT,
    DatabaseUnavailableError,
    IncidentError,
    MalformedError,
    NotDoneError,
    Refused,
)
from server.errors import RefusedError, abort, code_of, status_of

log = structlog.get_logger()

Context = grpc.aio.ServicerContext[Any, Any]
Service = TypeVar("Service", bound=type)
NoteCall = Callable[[str, str, float], None]
Arguments = ParamSpec("Arguments")
Found = TypeVar("Found")

# What a caller is told about in words; everything else is a bug, and told by the id of an incident.
_TOLD = (RefusedError, MalformedError, NotDoneError, DatabaseUnavailableError, IncidentError)


def tenant_of(_context: Context) -> str:
    """Whose books a call is about. Without authentication there is one tenant."""
    return DEFAULT_TENANT


class Reader:
    """Runs what waits for the database in threads of its own, so that it does not hold up the event loop."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def __call__(
        self, ask: Callable[Arguments, Found | Refused], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Found:
        """What `ask` answers; raises RefusedError if that is a refusal."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._executor, lambda: ask(*args, **kwargs))
        if isinstance(found, Refused):
            raise RefusedError(found)
        return found


def answering(service: Service) -> Service:
    """Makes every handler of a service end with an answer, a status with details, or an INTERNAL that tells nothing.

    Handlers are wrapped once, when the class is made; a server interceptor would cost every call. Each call that ends
    is told to `note_call` of the service: the method, the name of its code, and the seconds it took.
    """
    for name, handler in list(vars(service).items()):
        if name[0].isupper():
            wrap = _answered_all if inspect.isasyncgenfunction(handler) else _answered
            setattr(service, name, wrap(name, handler))
    service.note_call = staticmethod(_log_call)  # type: ignore[attr-defined]  # of any class
    return service


def noting(service: Any, note: NoteCall) -> None:  # noqa: ANN401 -- any that `answering` has made
    """Has the calls of one service told to somebody else too."""

    def note_call(method: str, code: str, seconds: float) -> None:
        _log_call(method, code, seconds)
        note(method, code, seconds)

    service.note_call = note_call


def told(name: str, error: Exception) -> Status:
    """What to tell the caller of an RPC about an error; a bug is logged, and told by the id of an incident."""
    return status_of(error if isinstance(error, _TOLD) else _incident(name, error))


def _answered(name: str, handler: Callable[[Any, Any, Context], Any]) -> Callable[[Any, Any, Context], Any]:
    @wraps(handler)
    async def answered(self: Any, request: Any, context: Context) -> Any:  # noqa: ANN401 -- one wrapper for all messages
        began = time.perf_counter()
        # Stays so if the caller goes away.
        code = "CANCELLED"
        try:
            answer = await handler(self, request, context)
            code = "OK"
            return answer  # noqa: TRY300
        except Exception as error:  # noqa: BLE001 -- whatever it is, its text must not reach the caller
            status = told(name, error)
            code = code_of(status).name
            await abort(context, status)
        finally:
            self.note_call(name, code, time.perf_counter() - began)

    return answered


def _answered_all(
    name: str, handler: Callable[[Any, Any, Context], AsyncGenerator[Any, None]]
) -> Callable[[Any, Any, Context], AsyncGenerator[Any, None]]:
    @wraps(handler)
    async def answered(self: Any, requests: Any, context: Context) -> AsyncGenerator[Any, None]:  # noqa: ANN401 -- as above
        began = time.perf_counter()
        code = "CANCELLED"
        try:
            async with aclosing(handler(self, requests, context)) as answers:
                async for answer in answers:
                    yield answer
            code = "OK"
        except Exception as error:  # noqa: BLE001 -- as above
            status = told(name, error)
            code = code_of(status).name
            await abort(context, status)
        finally:
            self.note_call(name, code, time.perf_counter() - began)

    return answered


def _log_call(method: str, code: str, seconds: float) -> None:
    log.debug("rpc", method=method, code=code, ms=seconds * 1000)


def _incident(name: str, error: Exception) -> IncidentError:
    incident = IncidentError(uuid4().hex)
    log.error("rpc_broke", method=name, incident_id=incident.incident_id, exc_info=error)
    return incident
