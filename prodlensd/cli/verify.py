"""`prodlensd verify`."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from prodlensd.answers.verify import (
    BROKEN,
    COMPLETE,
    EXIT_CODES,
    GAPS,
    Difference,
    Follow,
    Verdict,
    verify,
)
from prodlensd.app.following import follow
from prodlensd.app.snapshots import snapshot_path
from prodlensd.cli import as_json, config_option, fail, load_config
from prodlensd.cli.bar import Progress, bar
from prodlensd.config import Config
from prodlensd.ledger import Ledger, LedgerError
from prodlensd.text import printable

_SAID = {
    COMPLETE: click.style("proven complete", fg="green", bold=True),
    GAPS: click.style("proven, with open gaps", fg="yellow", bold=True),
    BROKEN: click.style("does not hold", fg="red", bold=True),
}


@click.command()
@config_option
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; the exit code says it.")
@click.option(
    "--acknowledge-gaps",
    is_flag=True,
    help="First accept the open gaps as lost: status and verify no longer report them.",
)
def command(config_path: Path | None, as_json_: bool, quiet: bool, acknowledge_gaps: bool) -> None:
    """Read the logs again and prove that the ledger holds, whether or not the daemon runs.

    Example: prodlensd verify

    Exit code: 0 proven complete, 3 proven but with open gaps, 1 does not hold (each difference is
    named) or cannot be read, 78 for a bad configuration.
    """
    config = load_config(config_path)
    try:
        if acknowledge_gaps:
            _acknowledge_gaps(config)
        with bar("reading the logs again", shown=not quiet) as progress:
            verdict = _verify(config, progress)
    except (LedgerError, OSError) as error:
        raise fail(str(error)) from error
    if as_json_:
        content = asdict(verdict) | {"totals": verdict.totals._asdict()}
        click.echo(as_json("verify", {"state": verdict.state, **content}))
    elif not quiet:
        _print(verdict)
    sys.exit(EXIT_CODES[verdict.state])


def _acknowledge_gaps(config: Config) -> None:
    if not config.store.path.exists():
        raise fail(f"no ledger at {config.store.path}: has the daemon run yet?")
    with Ledger(config.store.path, durability=config.store.durability) as ledger:
        count = ledger.sources.acknowledge_gaps()
    click.echo(f"{count} {'gap' if count == 1 else 'gaps'} acknowledged", err=True)


def _verify(config: Config, progress: Progress) -> Verdict:
    return verify(
        config.store.path,
        follow=rereading(config),
        snapshot_path=partial(snapshot_path, config) if config.parquet.enabled else None,
        progress=progress,
    )


def rereading(config: Config) -> Follow:
    """How the logs are read again: as the daemon reads them."""
    return partial(follow, config, zeros_wait_ns=0)


def _print(verdict: Verdict) -> None:
    totals = verdict.totals
    _line("sources", f"{verdict.reread} of {verdict.sources} read again")
    reasons = Counter(unread.reason for unread in verdict.unread)
    for reason, count in sorted(reasons.items()):
        _line("", f"{count} not on disk any more, not read again: {reason}")
    for rule, files in sorted(verdict.passed_over.items()):
        _line("", f"{files.count} passed over, not read ({rule}): {printable(files.named)}")
    _line(
        "ledger",
        f"{totals.lines} lines = {totals.traces} traces + {totals.duplicates} duplicates"
        f" + {totals.dead_letters} dead letters + {totals.blanks} blank",
    )
    if verdict.open_gaps:
        lost = f"{verdict.open_gaps} open, {verdict.known_lost_bytes} bytes known to be lost"
        _line("gaps", f"{lost}; see the view gaps")
    _line("snapshots", f"{verdict.snapshots} compared, {verdict.snapshots_due} to be written")
    for difference in verdict.differences:
        _line("differs", _difference(difference))
    if verdict.more_differences:
        _line("", f"and {verdict.more_differences} more differences")
    _line("verdict", _SAID[verdict.state])


def _difference(difference: Difference) -> str:
    place = "" if difference.offset is None else f"byte {difference.offset}: "
    return printable(
        f"{difference.path}: {place}{difference.what}:"
        f" expected {difference.expected}, found {difference.found}"
    )


def _line(name: str, value: str) -> None:
    click.echo(f"{name:10}{value}")
