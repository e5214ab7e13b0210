"""`prodlensd demo`."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Final

import click

from prodlensd import child
from prodlensd.app.demo import COLUMNS, count_lines, sample_calls
from prodlensd.cli import config_option, fail
from prodlensd.cli.tables import NAME_CELLS, drawn
from prodlensd.text import Column

_PATIENCE_S: Final = 20.0
_LEDGER: Final = "prodlens.db"


@click.command()
@config_option
def command(config_path: Path | None) -> None:
    """Ingest three sample calls in a scratch folder; show the status and what they cost.

    A real daemon runs there, with the default settings or those of --config, until they are shown.

    Example: prodlensd demo

    Exit code: 0, 1 when the daemon did not start or did not read the calls.
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
    with (home / "daemon.log").open("wb") as daemon_log:
        daemon = child.start("run", *options, env=environment, stderr=daemon_log)
    try:
        _await(lambda: count_lines(home / _LEDGER) is not None, home)
        click.echo(f"a daemon runs in {home}, pid {daemon.pid}\n")
        _write_calls(home)
        child.start("status", *options, env=environment, stdout=None).wait()
        click.echo()
        rows = [(*row[:5], f"${row[5] / 1e9:.5f}", row[6]) for row in sample_calls(home / _LEDGER)]
        titles = (*COLUMNS[:5], "cost", "source")
        columns = [Column(title, least_cells=NAME_CELLS) for title in titles]
        click.echo(drawn(columns, [tuple(map(str, row)) for row in rows]))
    finally:
        daemon.terminate()
        code = daemon.wait(timeout=_PATIENCE_S)
    click.echo(f"\nthe daemon stopped with exit code {code}; the scratch folder is gone")


def _write_calls(home: Path) -> None:
    """Appends one call after the other to a log, and prints how long each took to the ledger."""
    log = home / "logs" / "litellm-traces-2025-10-12.jsonl"
    calls = resources.files("prodlensd.cli").joinpath("demo.jsonl").read_bytes()
    for number, line in enumerate(calls.splitlines(), start=1):
        with log.open("ab") as file:
            file.write(line + b"\n")
        written = time.perf_counter()
        _await(partial(_has_lines, home, number), home)
        waited_ms = (time.perf_counter() - written) * 1000
        click.echo(f"{line.decode()}\n  in the ledger after {waited_ms:.0f} ms\n")


def _has_lines(home: Path, count: int) -> bool:
    return (count_lines(home / _LEDGER) or 0) >= count


def _await(condition: Callable[[], bool], home: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            log = (home / "daemon.log").read_text(encoding="utf-8", errors="replace")
            click.echo(log, err=True)
            raise fail("the daemon did not do its part; its log stands above")
        pause.wait(0.005)
