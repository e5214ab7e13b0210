"""Messages to the service manager in systemd's sd_notify protocol; without one, nothing.

Nothing here raises: the daemon works on when a message cannot be sent.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Final

#: How much longer a start or a reload may take, from each sign of life on.
_EXTENSION_S: Final = 60
_EXTEND_EVERY_S: Final = 10.0
#: The most of a status that is shown: a datagram that is too long is refused as a whole.
_MAX_CHARS: Final = 1000


class Notifier:
    """The service manager that `env` names, and the watchdog that it may have.

    The variables are removed from `env`: child processes must not notify. The mutable state:
    whether READY was sent, the last STATUS, and the time of the next sign of life.
    """

    def __init__(self, env: MutableMapping[str, str]) -> None:
        address = env.pop("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        watchdog_us = env.pop("WATCHDOG_USEC", "")
        is_ours = env.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._watched = is_ours and watchdog_us.isdecimal() and int(watchdog_us) > 0
        #: How often to call `alive`, in seconds; infinite without a service manager.
        self.alive_every_s = math.inf
        if self._address:
            self.alive_every_s = _EXTEND_EVERY_S
        if self._address and self._watched:
            # Four times, not twice, within the watchdog's time: a busy machine is late.
            self.alive_every_s = min(_EXTEND_EVERY_S, int(watchdog_us) / 4e6)
        self._is_ready = False
        self._status = ""
        self._next_alive = 0.0

    @property
    def is_heard(self) -> bool:
        """Whether there is a service manager to talk to."""
        return bool(self._address)

    def ready(self) -> None:
        """Sends, once, that the start or the reload is over."""
        if not self._is_ready:
            self._is_ready = True
            self._send("READY=1")

    def reloading(self) -> None:
        """Sends that the configuration is being read again; `ready` ends it."""
        self._is_ready = False
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={usec}")

    def stopping(self) -> None:
        """Sends that the daemon is stopping."""
        self._is_ready = True
        self._send("STOPPING=1", "STATUS=stopping")

    def status(self, text: str) -> None:
        """Shows `text`, which may hold anything (a path, an error), in `systemctl status`."""
        # A line feed would begin another field. Not `printable`: systemd drops its backslashes.
        shown = "".join(char if char.isprintable() else "?" for char in text[:_MAX_CHARS])
        if text != self._status and self._send(f"STATUS={shown}"):
            self._status = text

    def alive(self) -> None:
        """Sends a sign of life. To be called only after progress, or while waiting for work."""
        if self._address and time.monotonic() >= self._next_alive:
            self._next_alive = time.monotonic() + self.alive_every_s / 2
            fields = [] if self._is_ready else [f"EXTEND_TIMEOUT_USEC={_EXTENSION_S * 1_000_000}"]
            if self._watched:
                fields.append("WATCHDOG=1")
            if fields:
                self._send(*fields)

    def _send(self, *fields: str) -> bool:
        """Sends one datagram; whether it was received."""
        if not self._address:
            return True
        message = "\n".join(fields).encode("utf-8", "backslashreplace")
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending,
        ):
            sending.settimeout(1)
            sending.sendto(message, self._address)
            return True
        return False
