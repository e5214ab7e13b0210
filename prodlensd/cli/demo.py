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
from prodlensd.answers.periods import local_time
from prodlensd.app.demo import COLUMNS, count_lines, sample_calls
from prodlensd.app.made_up import month
from prodlensd.app.zone import time_zone
from prodlensd.cli import config_option, fail
from prodlensd.cli.tables import NAME_CELLS, drawn
from prodlensd.moments import now_us
from prodlensd.text import Column, counted

_PATIENCE_S: Final = 60.0
_LEDGER: Final = "prodlens.db"
_NEXT: Final = """\
To see your own calls:
  prodlensd service install          a daemon that is always there
  prodlensd init --proxy ~/litellm   a LiteLLM proxy that logs for it
  prodlensd doctor                   is everything wired?"""


@click.command()
@config_option
def command(config_path: Path | None) -> None:
    """Ingest three sample calls, then a month of made-up ones, and show what is told of them.

    A real daemon runs in a scratch folder, with the default settings or those of --config, until
    all is shown: the status, what the samples cost, the overview and a report of the month.

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
        _show_month(home, environment, options)
    finally:
        daemon.terminate()
        code = daemon.wait(timeout=_PATIENCE_S)
    click.echo(f"\nthe daemon stopped with exit code {code}; the scratch folder is gone\n\n{_NEXT}")


def _show_month(home: Path, environment: dict[str, str], options: list[str]) -> None:
    """Logs a month of calls, and prints what the commands say of it once it is ingested."""
    logs = month(local_time(now_us(), time_zone(None)))
    count, before = sum(map(len, logs.values())), count_lines(home / _LEDGER) or 0
    click.echo("\nNow a month of a team of six. All of it is made up, and the same every time.")
    for name, lines in logs.items():
        (home / "logs" / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    written = time.perf_counter()
    _await(partial(_has_lines, home, before + count), home)
    took_ms = (time.perf_counter() - written) * 1000
    calls, files = counted(count, "call"), counted(len(logs), "file")
    click.echo(f"{calls} from {files}, in the ledger after {took_ms:.0f} ms\n")
    for arguments in ([], ["report", "--by", "developer"]):
        click.echo(f"→ {' '.join(['prodlensd', *arguments])}")
        child.start(*arguments, *options, env=environment, stdout=None).wait()
        click.echo()
    click.echo("More of it: --by model, --by day,team, --compare, --format json, prodlensd sql …")


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
