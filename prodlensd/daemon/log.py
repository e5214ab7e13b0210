"""The program's own log, on stderr: JSON lines for machines, columns for a person at a terminal.

It never holds the content of a trace line. Texts from outside (paths, system errors) are escaped,
for they may reach a terminal. A message that cannot be written is dropped and counted, and the work
goes on.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import orjson
import structlog
from structlog.typing import Processor

from prodlensd.text import printable


class Outlet:
    """Writes messages to stderr; for structlog, a logger and the factory of it.

    The mutable state: `dropped`, the number of messages that could not be written so far, and
    `unreported`, how many of them the log does not mention yet.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.unreported = 0
        self._lock = threading.Lock()
        self._render: Callable[[str, int], str | bytes] | None = None

    def render_loss_with(self, render: Callable[[str, int], str | bytes]) -> None:
        """Sets how the message about dropped ones, and their number, become a line."""
        self._render = render

    def __call__(self, *_: object) -> Outlet:
        """The outlet itself: there is one stderr."""
        return self

    def msg(self, message: str | bytes) -> None:
        """Writes a line, and before it one about those dropped since the last; or drops it."""
        with self._lock:
            lines = [message]
            if self.unreported and self._render:
                fault = f"{self.unreported} messages of this log could not be written"
                lines.insert(0, self._render(fault, self.unreported))
            if _written(b"".join(_bytes(line) + b"\n" for line in lines)):
                self.unreported = 0
            else:
                self.dropped += 1
                self.unreported += 1

    debug = info = warning = error = critical = exception = msg


#: The outlet of this process.
log_outlet: Final = Outlet()


def configure_log(level: str) -> None:
    """Sets up structlog for this process; may be called again with another level."""
    on_terminal = sys.stderr.isatty()
    renderer: Processor = structlog.processors.JSONRenderer(serializer=orjson.dumps)
    if on_terminal:
        renderer = structlog.dev.ConsoleRenderer(colors=not os.environ.get("NO_COLOR"))
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(
            # Always with six digits, so that the log sorts as text.
            fmt="iso" if on_terminal else "%Y-%m-%dT%H:%M:%S.%fZ",
            utc=not on_terminal,
        ),
        structlog.processors.format_exc_info,
        _escape,
        renderer,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=log_outlet,
        cache_logger_on_first_use=False,
    )

    def rendered(text: str, dropped: int) -> str | bytes:
        event: Any = {"event": text, "dropped": dropped}
        for processor in processors:
            event = processor(None, "warning", event)
        line: str | bytes = event
        return line

    log_outlet.render_loss_with(rendered)
    logging.getLogger().addHandler(_from_libraries)  # the same one again changes nothing
    threading.excepthook = _thread_died


class _FromLibraries(logging.Handler):
    """Makes messages of this log from those that libraries send to Python's own logging."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's mistake in its own message
            text = str(record.msg)
        more = {"exc_info": record.exc_info} if record.exc_info else {}
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        structlog.get_logger().log(level, text, library=record.name, **more)


_from_libraries: Final = _FromLibraries()


def _thread_died(died: threading.ExceptHookArgs) -> None:
    """Says in this log what ended a thread, such as one of watchdog's."""
    if died.exc_value is not None:
        name = died.thread.name if died.thread else ""
        structlog.get_logger().error("a thread has died", thread=name, exc_info=died.exc_value)


def _written(lines: bytes) -> bool:
    """Writes to stderr; whether all of it was written."""
    try:
        taken = sys.stderr.buffer.write(lines)
        sys.stderr.buffer.flush()
    except (OSError, ValueError):  # the latter of a stream that is closed
        return False
    return taken == len(lines)


def _bytes(line: str | bytes) -> bytes:
    """A line as bytes: JSON is UTF-8 already, a person's line is in the terminal's encoding."""
    if isinstance(line, bytes):
        return line
    return line.encode(sys.stderr.encoding, sys.stderr.errors or "strict")


def _escape(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            lines = value.split("\n") if key == "exception" else [value]
            event[key] = "\n".join(map(printable, lines))
    return event
