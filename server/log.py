"""Where events go and how they are written."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from server.config import Settings


def log_as(settings: Settings, **always: str | int) -> None:
    """Events go to standard error, so that what a command prints can be used.

    always   fields that every event of this process has
    """
    level = getattr(logging, settings.log_level.upper())
    renderer: Any = structlog.processors.JSONRenderer()
    before: list[Any] = [structlog.processors.format_exc_info]
    if settings.log_format == "text":
        # Plain, because a traceback with local variables would show what callers keep to themselves.
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        before = []

    def add_always(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.update(always)
        return event

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            add_always,
            *before,
            renderer,
        ],
        # A line is one write, so that those of workers do not run into each other.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
