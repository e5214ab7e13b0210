"""`prodlensd status`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from prodlensd.cli import as_json, config_option, load_config, now_us
from prodlensd.status import EXIT_CODES, UNKNOWN, Check, Health, look

_COLOURS = {"ok": "green", "warning": "yellow", "critical": "red", "unknown": "magenta"}


class _Status(click.Command):
    """A monitor that asks wrongly must not take the answer for "critical", which is 2."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:  # noqa: ANN401 - as click has it
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            error.exit_code = EXIT_CODES[UNKNOWN]  # type: ignore[misc] # click's own way
            raise


@click.command(cls=_Status)
@config_option
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; the exit code says it.")
@click.option(
    "--exit",
    "exit_style",
    type=click.Choice(["nagios", "docker"]),
    default="nagios",
    help="docker: 0 healthy (warnings too), 1 not.",
)
def command(config_path: Path | None, as_json_: bool, quiet: bool, exit_style: str) -> None:
    """Say whether it is healthy, and what to do if not.

    Exit code: 0 ok, 1 warning, 2 critical (not running, stalled, unwritable), 3 unknown.
    """
    config = load_config(config_path, exit_code=EXIT_CODES[UNKNOWN])
    health = look(
        config.store.path,
        parquet_interval_s=config.parquet.interval_s if config.parquet.enabled else None,
        now_us=now_us(),
    )
    if as_json_:
        click.echo(_json(health))
    elif not quiet:
        _print(health)
    code = EXIT_CODES[health.state]
    sys.exit(code if exit_style == "nagios" else int(code > EXIT_CODES["warning"]))


def _json(health: Health) -> str:
    checks = [asdict(check) for check in health.checks]
    return as_json("status", {"state": health.state, "checks": checks, "figures": health.figures})


def _print(health: Health) -> None:
    for check in health.checks:
        click.echo(_line(check))
        if check.remedy:
            click.echo(f"{'':10}→ {check.remedy}")
    click.echo(f"{'health':10}{click.style(health.state, fg=_COLOURS[health.state], bold=True)}")


def _line(check: Check) -> str:
    state = "" if check.state == "ok" else click.style(f"{check.state}: ", fg=_COLOURS[check.state])
    # What the checks quote (paths, system errors) comes from outside.
    value = check.value if check.value.isprintable() else ascii(check.value)
    return f"{check.name:10}{state}{value}"
