"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Sizes:
    """The defaults are for the figures that are written down."""

    trace_lines: int = 300_000
    peer_lines: int = 300_000
    payload_lines: int = 30_000
    rounds: int = 3
    appends: int = 300
    idle_files: int = 100
    idle_s: float = 20.0
    status_runs: int = 10
    snapshot_rows: int = 5_000_000
    repriced_calls: int = 200_000
    growth_rows: int = 2_000_000
    growth_steps: int = 10
    long_line_bytes: int = 64 << 20
    quiet_files: tuple[int, ...] = (1, 365, 1095, 10_000)
    verified_files: tuple[int, ...] = (2_000, 5_000, 20_000)
    sessions: int = 1_000_000
    report_rows: tuple[int, ...] = (1_000_000, 5_000_000)
    transcript_mb: int = 1_000  # of each agent


QUICK = Sizes(
    trace_lines=50_000,
    peer_lines=50_000,
    payload_lines=3_000,
    rounds=1,
    appends=60,
    idle_s=5.0,
    status_runs=3,
    snapshot_rows=300_000,
    repriced_calls=50_000,
    growth_rows=200_000,
    quiet_files=(1, 1095),
    verified_files=(500, 2_000),
    sessions=50_000,
    report_rows=(100_000,),
    transcript_mb=200,
)

#: For CI: enough to find a wrong count, and no figure that is worth writing down.
SMOKE = replace(
    QUICK,
    trace_lines=10_000,
    peer_lines=10_000,
    payload_lines=500,
    appends=10,
    status_runs=1,
    long_line_bytes=16 << 20,
    transcript_mb=20,
)
