"""What health is expressed in: limits, gauges with a state each, and checks made of them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from msgspec import Struct

OK: Final = "ok"
WARNING: Final = "warning"
CRITICAL: Final = "critical"
UNKNOWN: Final = "unknown"
#: The worst first.
SEVERITY: Final = (CRITICAL, WARNING, UNKNOWN, OK)


class Limits(Struct, frozen=True, kw_only=True):
    """Beyond which values a check is not ok. The names and the defaults are those of `[status]`."""

    heartbeat_critical_s: float = 30
    lag_warning_bytes: int = 64 << 20
    lag_warning_s: float = 300
    dead_letters_warning_count: int = 0
    free_warning_bytes: int = 1 << 30
    free_critical_bytes: int = 64 << 20
    wal_warning_bytes: int = 256 << 20
    snapshot_warning_intervals: float = 3
    publish_warning_s: float = 604_800
    unpriced_warning_share: float = 0.01
    silence_warning_s: float = 604_800  # 0: no limit


class Gauge(NamedTuple):
    """A number that a check looks at: above its limits, or below those of a floor, is not ok.

    `unit` is one that monitoring plugins know: B, s, %, c for a counter, or none.
    """

    name: str
    value: float
    unit: str = ""
    warning: float | None = None
    critical: float | None = None
    is_floor: bool = False

    @property
    def state(self) -> str:
        """What the limits make of the value."""
        if self._is_beyond(self.critical):
            return CRITICAL
        return WARNING if self._is_beyond(self.warning) else OK

    def _is_beyond(self, limit: float | None) -> bool:
        if limit is None:
            return False
        return self.value < limit if self.is_floor else self.value > limit


class Check(Struct, frozen=True):
    """One thing looked at. `remedy` says what to do, and is empty when all is well."""

    name: str
    state: str
    value: str
    remedy: str = ""
    gauges: tuple[Gauge, ...] = ()

    @property
    def thresholds(self) -> dict[str, dict[str, Any]]:
        """By name, the gauges that have a limit."""
        return {
            gauge.name: {
                "value": gauge.value,
                "unit": gauge.unit,
                "warning": gauge.warning,
                "critical": gauge.critical,
                "bad_when": "below" if gauge.is_floor else "above",
            }
            for gauge in self.gauges
            if gauge.warning is not None or gauge.critical is not None
        }


def worst_of(*judged: Gauge | Check) -> str:
    """The worst of their states; OK when there are none."""
    states = {one.state for one in judged}
    return next((state for state in SEVERITY if state in states), OK)
