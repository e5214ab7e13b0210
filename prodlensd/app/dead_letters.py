"""`prodlensd dead-letters dismiss` and `purge`: what nobody will mend is accepted."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from prodlensd.cli import config_option, load_config
from prodlensd.cli.letters import find, reason_option, told_errors
from prodlensd.config import Config
from prodlensd.jobs import retrying as dead_letters
from prodlensd.ledger import BEFORE, Accepted, Ledger, Letters, Partitions, Reader, Refused, Turns
from prodlensd.text import table

_VERBS: Final = {"dismissed": "dismiss", "purged": "purge"}
_PAGES_AT_ONCE: Final = 128


def _selecting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The ways to say which dead letters are meant."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Only say how many there would be."),
        click.option("--all", "all_", is_flag=True, help="All dead letters."),
        reason_option,
        click.argument("ids", metavar="[ID]...", nargs=-1),
        config_option,
    ):
        command = option(command)
    return command


@click.command()
@_selecting
def dismiss(
    config_path: Path | None, ids: tuple[str, ...], reason: str | None, all_: bool, dry_run: bool
) -> None:
    """Accept dead letters as they are: `status` no longer warns of them.

    They are kept, counted and listed (`list --state dismissed`) as before. Say which: by ID, with
    --reason, or --all.

    Example: prodlensd dead-letters dismiss --reason unknown_format
    """
    _accept(
        load_config(config_path), "dismissed", _selection(ids, reason, every=all_), dry_run=dry_run
    )


@click.command()
@_selecting
def purge(
    config_path: Path | None, ids: tuple[str, ...], reason: str | None, all_: bool, dry_run: bool
) -> None:
    """Accept dead letters, and delete their bytes for good.

    What stays is the fact: where the line stood, how long it was, and why it was refused; reading
    it again adds nothing. Free room of the ledger goes back to the system. Say which: by ID, with
    --reason, or --all. Safe at any time, also while the daemon runs, and as often as you like.

    Example: prodlensd dead-letters purge 4f1c09aa
    """
    _accept(
        load_config(config_path), "purged", _selection(ids, reason, every=all_), dry_run=dry_run
    )


class _Selection(NamedTuple):
    """Dead letters by these ids, or else of this reason; all of them when it has neither."""

    ids: tuple[str, ...]
    reason: str | None


def _selection(ids: tuple[str, ...], reason: str | None, *, every: bool) -> _Selection:
    """What was asked for; a usage error unless it is asked for in exactly one way."""
    if [bool(ids), reason is not None, every].count(True) != 1:
        raise click.UsageError("say which: one or more ids, or --reason, or --all")
    return _Selection(ids, reason)


def _accept(config: Config, state: str, selection: _Selection, *, dry_run: bool) -> None:
    os.umask(0o077)
    turns = Turns(time.monotonic, threading.Event().wait)
    with told_errors(), ExitStack() as stack:
        letters = _letters(stack.enter_context(Reader(config.store.path)), state, selection)
        if dry_run:
            _accept_in_batches(letters, state, partial(_count, state), turns, dry_run=True)
            return
        ledger = stack.enter_context(Ledger(config.store.path, durability=config.store.durability))
        _accept_in_batches(letters, state, partial(_write, ledger, state), turns)
        if state == "purged":
            _give_back(ledger, turns)


def _letters(reader: Reader, state: str, selection: _Selection) -> Iterable[Refused]:
    if selection.ids:
        return {letter.key: letter for letter in (find(reader, i) for i in selection.ids)}.values()
    most = dead_letters.BATCH_MAX_LINES
    return reader.letters.in_pages(selection.reason, BEFORE[state], most)


def _accept_in_batches(
    letters: Iterable[Refused],
    state: str,
    write: Callable[[list[Refused]], Accepted],
    turns: Turns,
    *,
    dry_run: bool = False,
) -> None:
    accepted: Counter[str] = Counter()
    kept_bytes = 0
    try:
        for batch in dead_letters.accept(letters, write, turns.give):
            accepted += batch.letters
            kept_bytes += batch.kept_bytes
    finally:  # what was accepted before a failure is accepted
        if accepted:
            _print(accepted, kept_bytes, state, dry_run=dry_run)
    if not accepted:
        click.echo(f"no dead letters to {_VERBS[state]}")


def _write(ledger: Ledger, state: str, batch: list[Refused]) -> Accepted:
    return Letters(ledger).accept(state, (letter.key for letter in batch))


def _count(state: str, batch: list[Refused]) -> Accepted:
    due = [letter for letter in batch if letter.state in BEFORE[state]]
    reasons = Counter(letter.reason for letter in due)
    return Accepted(reasons, sum(letter.kept_bytes for letter in due))


def _give_back(ledger: Ledger, turns: Turns) -> None:
    """Gives free pages back, and leaves nothing of them in the write-ahead log."""
    partitions = Partitions(ledger)
    while partitions.give_back(_PAGES_AT_ONCE):
        turns.give()
    if not Letters(ledger).empty_log():
        click.echo(
            "the ledger is in use: its write-ahead log may hold purged bytes until purge is run "
            "once more",
            err=True,
        )


def _print(accepted: Counter[str], kept_bytes: int, state: str, *, dry_run: bool) -> None:
    done = f"would {_VERBS[state]}" if dry_run else state
    rows = [(reason, str(count)) for reason, count in sorted(accepted.items())]
    rows.append(("all", str(accepted.total())))
    click.echo(table(("reason", done), rows, right={done}))
    if state == "purged":
        click.echo(f"{kept_bytes} bytes of them {'would be' if dry_run else 'are'} gone")
