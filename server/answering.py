"""What all handlers share: who asks, how reads run, and what becomes of an exception."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

import grpc
import structlog

from ledger import (
    DEFAULT_TENANT,
    Accepted,
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
Arguments = ParamSpec("Arguments")
Found = TypeVar("Found")

# What a caller is told about in words; everything else is a bug, and told by the id of an incident.
_TOLD = (RefusedError, MalformedError, NotDoneError, DatabaseUnavailableError, IncidentError)


def tenant_of(_context: Context) -> str:
    """Whose books a call is about. Without authentication there is one tenant."""
    return DEFAULT_TENANT


def accepted_or_raise(outcome: Accepted | Refused) -> Accepted:
    """Turns a refusal into what `answering` tells the caller."""
    if isinstance(outcome, Refused):
        raise RefusedError(outcome)
    return outcome


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

    Handlers are wrapped once, when the class is made; a server interceptor would cost every call.
    """
    for name, handler in list(vars(service).items()):
        if name[0].isupper():
            setattr(service, name, _answered(name, handler))
    return service


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
            status = status_of(error if isinstance(error, _TOLD) else _incident(name, error))
            code = code_of(status).name
            await abort(context, status)
        finally:
            log.debug("rpc", method=name, code=code, ms=round((time.perf_counter() - began) * 1000, 2))

    return answered


def _incident(name: str, error: Exception) -> IncidentError:
    incident = IncidentError(uuid4().hex)
    log.error("rpc_broke", method=name, incident_id=incident.incident_id, exc_info=error)
    return incident
