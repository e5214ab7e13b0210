"""The program's own log, on stderr: JSON lines for machines, columns for a person at a terminal.

It never holds the content of a log line; what it holds of the outside world (paths, system errors)
is escaped before it can reach a terminal.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any

import orjson
import structlog


def configure(level: str) -> None:
    """Sets up structlog for this process; may be called again with another level."""
    on_terminal = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(
            # Always with six digits, so that the log sorts as text.
            fmt="iso" if on_terminal else "%Y-%m-%dT%H:%M:%S.%fZ",
            utc=not on_terminal,
        ),
        structlog.processors.format_exc_info,
    ]
    if on_terminal:
        renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(
            colors=not os.environ.get("NO_COLOR")
        )
        factory: Any = structlog.PrintLoggerFactory(sys.stderr)
    else:
        renderer = structlog.processors.JSONRenderer(serializer=orjson.dumps)
        factory = structlog.BytesLoggerFactory(sys.stderr.buffer)
    structlog.configure(
        processors=[*shared, _escape, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )


def _escape(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str) and key != "exception" and not value.isprintable():
            event[key] = ascii(value)
    return event
