"""The daemon's last sign of life: one row, which it writes every few seconds."""

from __future__ import annotations

from typing import Final, NamedTuple

from prodlensd.model import US_PER_S


class Heartbeat(NamedTuple):
    """The daemon's last sign of life."""

    pid: int
    version: str
    started_us: int
    beat_us: int
    phase: str
    watcher: str
    fault: str | None = None
    measures: str | None = None  # JSON of a measures.Measures

    def silence_s(self, now_us: int) -> float:
        """How long ago it was; 0 when the clock has been set back since.

        Then its age is not known until the next one, ten seconds later. If the daemon hangs just
        then, the service manager's watchdog notices.
        """
        return max(0, now_us - self.beat_us) / US_PER_S


READ: Final = f"SELECT {', '.join(Heartbeat._fields)} FROM daemon"  # noqa: S608
WRITE: Final = f"INSERT OR REPLACE INTO daemon VALUES (1{', ?' * len(Heartbeat._fields)})"  # noqa: S608
