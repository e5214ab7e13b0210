"""A daemon that random histories start, stop and step."""

from __future__ import annotations

from typing import Any, Final

import structlog
from hypothesis.stateful import RuleBasedStateMachine

_SILENCE: Final = structlog.wrap_logger(
    None, wrapper_class=structlog.make_filtering_bound_logger(50)
)


class DaemonMachine(RuleBasedStateMachine):
    """Drives the daemon of `world`, which is `up` or not."""

    world: Any
    up: bool

    def check_stored(self) -> None:
        """What holds after each step."""
        raise NotImplementedError

    def _stop(self) -> None:
        if self.up:
            self.world.stop()
            self.up = False

    def _start(self) -> None:
        if not self.up:
            self.world._start()
            # A killed process loses no page that the system has; only a power cut asks for more.
            self.world.store.db.pragma("synchronous", "OFF")
            self.world.daemon._log = _SILENCE
            self.up = True

    def _start_again(self) -> None:
        self._stop()
        self._start()

    def _step(self) -> None:
        self._start()
        self.world.step()
        self.check_stored()
