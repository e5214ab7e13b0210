"""`prodlensd import`."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from prodlensd.app.importing import Imported, import_files
from prodlensd.cli import (
    EXIT_FAILURE,
    EXIT_TRY_LATER,
    as_json,
    config_option,
    errors_end_it,
    load_config,
)
from prodlensd.cli.bar import bar
from prodlensd.moments import iso_time, moment_of
from prodlensd.text import at_least, counted, money, printable


@click.command()
@config_option
@click.argument(
    "paths",
    metavar="PATH…",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
)
@click.option("--dry-run", is_flag=True, help="Only show what would be new.")
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object.")
def command(
    config_path: Path | None, paths: tuple[Path, ...], *, dry_run: bool, as_json_: bool
) -> None:
    """Read files of history into the ledger, each call once.

    LiteLLM's spend logs, as its API and PostgreSQL give them (JSON or CSV), files of its callbacks,
    arrays of payloads, OTLP files, trace lines, transcripts of Claude Code and Codex; each also
    compressed with gzip. Of a folder, all *.jsonl and *.jsonl.gz files in it are read. What is
    known is not counted again: an import can be interrupted, repeated, and run beside the daemon.
    Only what is named is read, and nothing of it is copied.

    Example: prodlensd import --dry-run spend-logs.jsonl

    Exit code: 0, 1 when a file could not be read or holds nothing that is known (the others are
    imported), 75 when another import runs or the ledger is locked.
    """
    config = load_config(config_path)
    os.umask(0o077)
    gc.set_threshold(100_000, 50, 100)  # lines become short-lived tuples, which hold no cycles
    done: list[Imported] = []
    try:
        with (
            errors_end_it(temporary=EXIT_TRY_LATER),
            bar("importing", shown=not as_json_) as progress,
        ):
            done.extend(import_files(config, paths, progress, dry_run=dry_run))
    finally:  # what was imported before a failure is imported
        if as_json_:
            click.echo(as_json("import", {"dry_run": dry_run, **_as_dict(done)}))
        else:
            _print(done, dry_run=dry_run)
    if any(one.refusal for one in done):
        sys.exit(EXIT_FAILURE)


def _print(done: list[Imported], *, dry_run: bool) -> None:
    for one in done:
        if one.refusal is None or one.new or one.known:
            click.echo(f"{printable(str(one.path))}: {_said(one, dry_run=dry_run)}")
        for place in one.places:
            where = f"  {printable(str(one.path))}:{place.offset} ({place.length:,} bytes)"
            detail = f": {printable(place.detail)}" if place.detail else ""
            click.echo(f"{where}: {place.reason}{detail}")
        if (more := one.refused.total() - len(one.places)) > 0:
            click.echo(f"  and {more:,} more: prodlensd dead-letters list")
        if one.refusal is not None:
            click.echo(f"Error: {printable(one.refusal)}", err=True)
    if len(done) > 1:
        click.echo(f"{counted(len(done), 'file')}: {_said(_sum(done), dry_run=dry_run)}")


def _said(one: Imported, *, dry_run: bool) -> str:
    return "; ".join(_parts(one, dry_run=dry_run))


def _parts(one: Imported, *, dry_run: bool) -> Iterator[str]:
    added = one.added
    if one.new:
        new = counted(one.new, "new call" if not dry_run else "call") + " would be new" * dry_run
        if added.first_us is not None and added.last_us is not None:
            first, last = (f"{moment_of(us):%Y-%m-%d}" for us in (added.first_us, added.last_us))
            new += f", of {first}" if first == last else f", from {first} to {last}"
        yield f"{new}: {at_least(money(added.cost_nanousd), is_exact=not added.unpriced)}"
    else:
        yield "nothing new"
    if one.known:
        yield f"{counted(one.known, 'call')} known"
    if one.passed_over:
        yield f"{counted(one.passed_over, 'record')} no call"
    if refused := one.refused.total():
        yield f"{counted(refused, 'record')} cannot be read"


def _sum(done: list[Imported]) -> Imported:
    total = Imported(Path())
    for one in done:
        total.new += one.new
        total.known += one.known
        total.passed_over += one.passed_over
        total.refused += one.refused
        total.added = total.added.plus(one.added)
    return total


def _as_dict(done: list[Imported]) -> dict[str, Any]:
    return {
        "files": [
            {
                "path": str(one.path),
                "error": one.refusal,
                **_counts(one),
                "refused_by_reason": dict(one.refused),
                "refused_at": [place._asdict() for place in one.places],
            }
            for one in done
        ],
        "total": _counts(_sum(done)),
    }


def _counts(one: Imported) -> dict[str, Any]:
    added = one.added
    return {
        "calls_new": one.new,
        "calls_known": one.known,
        "records_passed_over": one.passed_over,
        "records_refused": one.refused.total(),
        "cost_nanousd": added.cost_nanousd,
        "calls_unpriced": added.unpriced,
        "first_call_at": None if added.first_us is None else iso_time(added.first_us),
        "last_call_at": None if added.last_us is None else iso_time(added.last_us),
    }
