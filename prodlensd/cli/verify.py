"""`prodlensd verify`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Final

import click
from msgspec import to_builtins

from prodlensd.answers.checks import balance
from prodlensd.answers.verify import BROKEN, COMPLETE, EXIT_CODES, GAPS, Difference, Verdict
from prodlensd.app.verify import acknowledge_gaps as acknowledge
from prodlensd.app.verify import verify
from prodlensd.cli import as_json, config_option, errors_end_it, load_config
from prodlensd.cli.bar import bar
from prodlensd.text import printable

_VERDICTS: Final = {
    COMPLETE: click.style("proven complete", fg="green", bold=True),
    GAPS: click.style("proven, with open gaps", fg="yellow", bold=True),
    BROKEN: click.style("does not hold", fg="red", bold=True),
}


@click.command()
@config_option
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; the exit code is the answer.")
@click.option(
    "--acknowledge-gaps",
    is_flag=True,
    help="First accept the open gaps as lost: status and verify no longer report them.",
)
def command(config_path: Path | None, as_json_: bool, quiet: bool, acknowledge_gaps: bool) -> None:
    """Read the logs again and prove that each line is in the ledger exactly once.

    The snapshots are compared too. The daemon may be running.

    Example: prodlensd verify

    Exit code: 0 proven complete, 3 proven, with open gaps, 1 when a difference is found (each is
    named) or the ledger cannot be read, 78 for a bad configuration.
    """
    config = load_config(config_path)
    with errors_end_it():
        if acknowledge_gaps:
            count = acknowledge(config)
            click.echo(f"{count} {'gap' if count == 1 else 'gaps'} acknowledged", err=True)
        with bar("reading the logs again", shown=not quiet) as progress:
            verdict = verify(config, progress)
    if as_json_:
        content = to_builtins(verdict) | {"totals": verdict.totals._asdict()}
        click.echo(as_json("verify", {"state": verdict.state, **content}))
    elif not quiet:
        _print(verdict)
    sys.exit(EXIT_CODES[verdict.state])


def _print(verdict: Verdict) -> None:
    totals = verdict.totals
    _line("sources", f"{verdict.reread} of {verdict.sources} read again")
    reasons = Counter((unread.reason, unread.fault) for unread in verdict.unread)
    for (reason, fault), count in sorted(reasons.items()):
        why = f"not on disk any more, not read again: {reason}"
        why = "imported, not read again" if reason == "imported" else why
        _line("", f"{count} {f'could not be read: {printable(fault)}' if fault else why}")
    for rule, files in sorted(verdict.passed_over.items()):
        _line("", f"{files.count} passed over, not read ({rule}): {printable(files.named)}")
    _line("ledger", balance(totals))
    if verdict.open_gaps:
        lost = f"{verdict.open_gaps} open, {verdict.known_lost_bytes} bytes known to be lost"
        _line("gaps", f"{lost}; see the view gaps")
    _line("snapshots", f"{verdict.snapshots} compared, {verdict.snapshots_due} to be written")
    for difference in verdict.differences:
        _line("differs", _difference(difference))
    if verdict.more_differences:
        _line("", f"and {verdict.more_differences} more differences")
    _line("verdict", _VERDICTS[verdict.state])


def _difference(difference: Difference) -> str:
    place = "" if difference.offset is None else f"byte {difference.offset}: "
    return printable(
        f"{difference.path}: {place}{difference.what}:"
        f" expected {difference.expected}, found {difference.found}"
    )


def _line(name: str, value: str) -> None:
    click.echo(f"{name:10}{value}")
