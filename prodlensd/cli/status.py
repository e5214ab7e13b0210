"""`prodlensd status`."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any, Final

import click

from prodlensd.answers.gauges import OK, SEVERITY, UNKNOWN, Check, Gauge
from prodlensd.answers.status import EXIT_CODES, Health
from prodlensd.app.metrics import exposition, write_textfile
from prodlensd.app.status import health
from prodlensd.cli import as_json, config_option, fail, load_config
from prodlensd.cli.streams import OutputLostError
from prodlensd.cli.typed import Choice
from prodlensd.text import printable

_COLOURS: Final = {"ok": "green", "warning": "yellow", "critical": "red", "unknown": "magenta"}
#: Monitors keep only the start of a line, and what a check quotes may be long.
_LINE_VALUE_CHARS: Final = 200


class _Status(click.Command):
    """Usage errors and bugs of ours are "unknown": a monitor must not take them for a warning."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:  # noqa: ANN401 - as click has it
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            error.exit_code = EXIT_CODES[UNKNOWN]  # type: ignore[misc] # click's own way
            raise

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception:  # noqa: BLE001 - whatever it is, it is not about the daemon
            traceback.print_exc()
            sys.exit(EXIT_CODES[UNKNOWN])


@click.command(cls=_Status)
@config_option
@click.option("--json", "form", flag_value="json", help="Print one JSON object.")
@click.option("--line", "form", flag_value="line", help="Print one line for Nagios, with perfdata.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; the exit code is the answer.")
@click.option(
    "--exit",
    "exit_style",
    type=Choice(["nagios", "docker"]),
    default="nagios",
    help="Exit codes as above, or as docker has them: 0 ok or warning, 1 otherwise.",
)
@click.option(
    "--textfile",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the metrics to FILE, for node_exporter's textfile collector.",
)
def command(
    config_path: Path | None,
    form: str | None,
    quiet: bool,
    exit_style: str,
    textfile: Path | None,
) -> None:
    """Show whether the daemon and its ledger are healthy, and what to do if not.

    Changes nothing, and works while the daemon runs, hangs or is stopped.

    Example: prodlensd status --line

    Exit code: 0 ok, 1 warning, 2 critical (not running, stalled, unwritable), 3 unknown (the
    ledger cannot be read, a bad configuration, or options that do not fit).
    """
    try:
        config = load_config(config_path, exit_code=_exit_code(UNKNOWN, exit_style))
    except click.ClickException as error:
        if form == "line" and not quiet:
            click.echo(_perfdata_line(UNKNOWN, [error.message], []))
        raise
    if textfile is not None:
        try:
            write_textfile(textfile, exposition(config))
        except OSError as error:
            problem = f"{textfile}: cannot be written: {error.strerror}"
            raise fail(problem, _exit_code(UNKNOWN, exit_style)) from error
    found = health(config)
    if not quiet:
        try:
            click.echo({None: _text, "json": _json, "line": _line}[form](found))
        except OutputLostError:  # its own exit code would be a warning
            sys.exit(_exit_code(UNKNOWN, exit_style))
    sys.exit(_exit_code(found.state, exit_style))


def _exit_code(state: str, exit_style: str) -> int:
    code = EXIT_CODES[state]
    return code if exit_style == "nagios" else int(code > EXIT_CODES["warning"])


def _json(health: Health) -> str:
    checks = [
        {
            "name": check.name,
            "state": check.state,
            "value": check.value,
            "remedy": check.remedy,
            "thresholds": check.thresholds,
        }
        for check in health.checks
    ]
    return as_json("status", {"state": health.state, "checks": checks, "figures": health.figures})


def _text(health: Health) -> str:
    lines = []
    for check in health.checks:
        state = "" if check.state == OK else _coloured(f"{check.state}: ", check.state)
        lines.append(f"{check.name:10}{state}{printable(check.value)}")
        if check.remedy:
            lines.append(f"{'':10}→ {check.remedy}")
    lines.append(f"{'health':10}{_coloured(health.state, health.state, bold=True)}")
    return "\n".join(lines)


def _coloured(text: str, state: str, *, bold: bool = False) -> str:
    return click.style(text, fg=_COLOURS[state], bold=bold)


def _line(health: Health) -> str:
    """One line as the Monitoring Plugins Development Guidelines have it."""
    bad = sorted(
        (check for check in health.checks if check.state != OK),
        key=lambda check: SEVERITY.index(check.state),
    )
    texts = [_short(check) for check in bad or health.checks[:3]]
    return _perfdata_line(health.state, texts, [g for c in health.checks for g in c.gauges])


def _short(check: Check) -> str:
    return f"{check.name} {check.value:.{_LINE_VALUE_CHARS}}"


def _perfdata_line(state: str, texts: list[str], gauges: list[Gauge]) -> str:
    # The first | ends the text; a new line would begin more text, and then more perfdata.
    text = printable("; ".join(texts)).replace("|", "/")
    perfdata = " ".join(map(_perfdatum, gauges))
    return f"PRODLENSD {state.upper()} - {text}" + (f" | {perfdata}" if perfdata else "")


def _perfdatum(gauge: Gauge) -> str:
    """'name'=value[unit];[warning];[critical];[min];[max], the limits as the ranges that are ok."""
    end = ":" if gauge.is_floor else ""
    limits = (
        "" if limit is None else f"{_number(limit)}{end}"
        for limit in (gauge.warning, gauge.critical)
    )
    most = "100" if gauge.unit == "%" else ""
    return f"'{gauge.name}'={_number(gauge.value)}{gauge.unit};{';'.join(limits)};0;{most}"


def _number(value: float) -> str:
    """In digits alone: without an exponent, and without zeros at the end of a fraction."""
    return str(value) if isinstance(value, int) else f"{value:.4f}".rstrip("0").rstrip(".")
