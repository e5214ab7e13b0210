"""`prodlensd doctor`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from prodlensd.answers.doctor import Examination
from prodlensd.answers.gauges import CRITICAL, OK, UNKNOWN, WARNING
from prodlensd.app.doctor import doctor
from prodlensd.cli import EXIT_FAILURE, as_json, config_option
from prodlensd.text import counted, printable

#: A state → its word, and its colour.
_WORDS: Final = {
    OK: ("ok", "green"),
    WARNING: ("warning", "yellow"),
    CRITICAL: ("problem", "red"),
    UNKNOWN: ("unknown", "magenta"),
}


@click.command()
@config_option
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object.")
def command(config_path: Path | None, as_json_: bool) -> None:
    """Look whether everything is wired, from the proxy to the price, and say what to do if not.

    Changes nothing, and takes no more than two seconds. At its end stands a test call to copy.

    Example: prodlensd doctor

    Exit code: 0 when nothing is wrong, 1 otherwise.
    """
    found = doctor(config_path)
    click.echo(_json(found) if as_json_ else _text(found))
    sys.exit(0 if found.state == OK else EXIT_FAILURE)


def _json(found: Examination) -> str:
    checks = [
        {
            "name": check.name,
            "state": _WORDS[check.state][0],
            "value": check.value,
            "remedy": check.remedy,
        }
        for check in found.checks
    ]
    call = None if found.call is None else found.call._asdict()
    state = _WORDS[found.state][0]
    return as_json("doctor", {"state": state, "checks": checks, "test_call": call})


def _text(found: Examination) -> str:
    lines = []
    for check in found.checks:
        word, colour = _WORDS[check.state]
        lines.append(
            f"{check.name:10}{click.style(f'{word:8}', fg=colour)} {printable(check.value)}"
        )
        if check.remedy:
            lines.append(f"{'':19}→ {printable(check.remedy)}")
    lines.append(f"\n{_sum(found)}")
    if found.call is not None:
        lines += [
            "\nA test call, which counts as a call like any other:\n",
            f"  {printable(found.call.command)}",
            "\nThis shows it, once the daemon has read it:\n",
            f"  {found.call.then}",
        ]
    return "\n".join(lines)


def _sum(found: Examination) -> str:
    counts = {
        word: sum(check.state == state for check in found.checks)
        for state, (word, _) in _WORDS.items()
        if state != OK
    }
    parts = [counted(counts["problem"], "problem"), counted(counts["warning"], "warning")]
    parts += [f"{counts['unknown']} unknown"] if counts["unknown"] else []
    said = ", ".join(part for part in parts if not part.startswith("0 "))
    return said or "everything is wired"
