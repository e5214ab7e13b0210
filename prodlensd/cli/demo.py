"""`prodlensd demo`."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import click
import orjson

from prodlensd import child
from prodlensd.cli import config_option, fail
from prodlensd.ledger import LedgerError, Reader, span_of
from prodlensd.text import table

#: session, developer, model, tokens in, tokens out, latency in ms, time
_CALLS: Final = (
    ("session-abc123", "dev@example.com", "claude-3-5-sonnet-20241022", 250, 150, 1234.5, "19:00"),
    ("session-abc124", "dev@example.com", "claude-3-5-haiku-latest", 100, 50, 567.8, "19:05"),
    ("session-xyz789", "alice@example.com", "claude-3-opus-20240229", 500, 300, 2345.6, "19:10"),
)
_PATIENCE_S: Final = 20.0
_SHOWN: Final = (
    "session_id", "developer_id", "model", "tokens_in", "tokens_out", "cost_nanousd", "cost_source"
)  # fmt: skip


@click.command()
@config_option
def command(config_path: Path | None) -> None:
    """Ingest three sample traces in a scratch folder and show them, the status and the costs.

    Starts a real daemon there, with the default settings or those of --config, and stops it again.

    Example: prodlensd demo

    Exit code: 0, 1 when the daemon did not start or did not read the traces.
    """
    with tempfile.TemporaryDirectory(prefix="prodlensd-demo-") as folder:
        home = Path(folder)
        environment = os.environ | {"PRODLENSD_HOME": folder}
        if config_path is None:
            environment.pop("PRODLENSD_CONFIG", None)
            (home / "config.toml").touch()  # so that no configuration of this machine is found
            config_path = home / "config.toml"
        _show(home, environment, ["--config", str(config_path)])


def _show(home: Path, environment: dict[str, str], options: list[str]) -> None:
    (home / "logs").mkdir(mode=0o700)
    log = home / "logs" / "litellm-traces-2025-10-12.jsonl"
    with (home / "daemon.log").open("wb") as daemon_log:
        daemon = child.start("run", *options, env=environment, stderr=daemon_log)
    try:
        _await(lambda: _lines(home) is not None, home)
        click.echo(f"a daemon runs in {home}, pid {daemon.pid}\n")
        for number, call in enumerate(_CALLS, start=1):
            line = orjson.dumps(_trace_line(*call))
            with log.open("ab") as file:
                file.write(line + b"\n")
            written = time.perf_counter()
            _await(partial(_has_lines, home, number), home)
            waited_ms = (time.perf_counter() - written) * 1000
            click.echo(f"{line.decode()}\n  in the ledger after {waited_ms:.0f} ms\n")
        child.start("status", *options, env=environment, stdout=None).wait()
        click.echo()
        _print_costs(home)
    finally:
        daemon.terminate()
        code = daemon.wait(timeout=_PATIENCE_S)
    click.echo(f"\nthe daemon stopped with exit code {code}; the scratch folder is gone")


def _trace_line(
    session: str,
    developer: str,
    model: str,
    tokens_in: int,
    tokens_out: int,
    latency_ms: float,
    at: str,
) -> dict[str, object]:
    return {
        "timestamp": f"2025-10-12T{at}:00Z",
        "attributes": {
            "llm.model_name": f"anthropic/{model}",
            "status_code": 200,
            "latency_ms": latency_ms,
        },
        "usage": {
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        },
        "metadata": {
            "session_id": session,
            "developer_id": developer,
            "repo": "test/prodlens-demo",
        },
    }


def _lines(home: Path) -> int | None:
    """How many lines the ledger has; None while there is no ledger."""
    try:
        with Reader(home / "prodlens.db") as reader:
            return reader.sources.counts().lines if reader.heartbeat() else None
    except LedgerError:
        return None


def _has_lines(home: Path, count: int) -> bool:
    return (_lines(home) or 0) >= count


def _await(condition: Callable[[], bool], home: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            said = (home / "daemon.log").read_text(encoding="utf-8", errors="replace")
            click.echo(said, err=True)
            raise fail("the daemon did not do its part; what it said stands above")
        pause.wait(0.005)


def _print_costs(home: Path) -> None:
    with Reader(home / "prodlens.db") as reader:
        calls = reader.days.traces(*span_of(20373), _SHOWN)
        rows = [(*row[:5], f"${row[5] / 1e9:.5f}", row[6]) for row in calls]
    titles = (*_SHOWN[:5], "cost", "source")
    click.echo(table(titles, [tuple(map(str, row)) for row in rows], right=()))
