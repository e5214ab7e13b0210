"""`prodlensd dead-letters`: the lines that could not be read, looked at, read again or accepted.

A line may hold anything, prompts and escape sequences too: `list` never prints it, `show` and
`export` only escaped, and `show --raw` as it is.
"""

from __future__ import annotations

import json
import os
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from prodlensd.app import dead_letters
from prodlensd.app.dead_letters import LETTER_STATES, Refused
from prodlensd.app.ledger import reading
from prodlensd.cli import (
    EXIT_TRY_LATER,
    as_json,
    config_option,
    errors_end_it,
    fail,
    load_config,
)
from prodlensd.cli.tables import NAME_CELLS, drawn, wide_option
from prodlensd.cli.typed import Choice, Group
from prodlensd.config import Config
from prodlensd.model import REASONS
from prodlensd.moments import iso_time, short_time
from prodlensd.text import Both, Cell, Column, printable

#: Of an id, in the list: enough to keep a million dead letters apart.
_SHOWN_DIGITS: Final = 12
_COLUMNS: Final = (
    Column("id"),
    Column("received", keep=3),
    Column("state", keep=2),
    Column("reason"),
    Column("length", "right", keep=1),
    Column("path:offset", keep=4, least_cells=2 * NAME_CELLS, cut="start"),
    Column("detail", keep=5, least_cells=2 * NAME_CELLS, cut="end"),
)
_VERBS: Final = {"dismissed": "dismiss", "purged": "purge"}
_Command = TypeVar("_Command", bound=Callable[..., Any])

_reason_option: Final = click.option(
    "--reason", type=Choice(REASONS), help="Only the lines refused for this reason."
)
_id_argument: Final = click.argument("id_", metavar="ID")


@click.group(cls=Group)
def command() -> None:
    """The lines that could not be read: list, show, export, retry, dismiss and purge them.

    Exit code: 0, 1 when it failed, 75 when another process holds the ledger.
    """


# Looking ----------------------------------------------------------------------------------------


@command.command("list", short_help="List them, the newest first, without their content.")
@config_option
@_reason_option
@click.option(
    "--state",
    type=Choice([*LETTER_STATES, "all"]),
    default="open",
    show_default=True,
    help="Open ones are still to be looked at; dismiss and purge accept them.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=50,
    metavar="N",
    show_default=True,
    help="List at most N; 0: all.",
)
@wide_option
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object, with whole ids.")
def list_(
    config_path: Path | None, reason: str | None, state: str, limit: int, wide: bool, as_json_: bool
) -> None:
    """List dead letters, the newest first, without their content.

    Example: prodlensd dead-letters list --reason invalid_json
    """
    states = LETTER_STATES if state == "all" else (state,)
    with errors_end_it(temporary=EXIT_TRY_LATER), reading(load_config(config_path)) as reader:
        by_state = reader.letters.count_by_state(reason)
        letters = list(reader.letters.newest(reason, states, most=limit or None))
    total = sum(by_state[each] for each in states)
    more = max(0, total - len(letters))
    if as_json_:
        listed = [_as_dict(letter) for letter in letters]
        answer = {"dead_letters": listed, "total": total, "more": more, "by_state": by_state}
        click.echo(as_json("dead-letters", answer))
        return
    if letters:
        click.echo(drawn(_COLUMNS, map(_cells, letters), wide=wide))
    else:
        which = "" if state == "all" else f"{state} "
        click.echo(f"no {which}dead letters" + (f" of reason {reason}" if reason else ""))
    if more:
        click.echo(f"and {more} more: --limit 0 lists all")
    others = [f"{by_state[each]} {each}" for each in LETTER_STATES if each not in states]
    if sum(by_state.values()) > total:
        click.echo(f"and {', '.join(others)}: --state all lists them too")


@command.command(short_help="Show one, with its line.")
@config_option
@_id_argument
@click.option(
    "--bytes",
    "max_bytes",
    type=click.IntRange(min=0),
    default=4096,
    metavar="N",
    show_default=True,
    help="Show at most N bytes of the line; 0: all.",
)
@click.option(
    "--raw", "as_raw", is_flag=True, help="Write the line's bytes as they are, nothing else."
)
def show(config_path: Path | None, id_: str, max_bytes: int, as_raw: bool) -> None:
    r"""Show one dead letter and its line, with \x.. for each byte that is not printable.

    ID is the id that `list` shows, or the first digits of it, as long as no other id begins so.

    Example: prodlensd dead-letters show 4f1c09aa
    """
    with errors_end_it(temporary=EXIT_TRY_LATER), reading(load_config(config_path)) as reader:
        letter = dead_letters.find(reader, id_)
        raw = reader.letters.bytes_of(letter.key)
    is_purged = letter.state == "purged"
    if as_raw:
        if is_purged:
            raise fail("its bytes were purged")
        sys.stdout.buffer.write(raw)
        return
    is_head = letter.kept_bytes < letter.length and not is_purged
    kept = f", the first {letter.kept_bytes} kept" if is_head else ""
    if is_head and not letter.kept_bytes:
        kept = ", none kept: of a line of many records, or imported"
    for name, value in (
        ("id", letter.key.hex()),
        ("received", short_time(letter.received_us)),
        ("state", letter.state),
        ("reason", letter.reason),
        ("detail", letter.detail),
        ("from", f"{letter.path}:{letter.source_offset} (source {letter.source_id})"),
        ("length", f"{letter.length} bytes{kept}"),
    ):
        click.echo(f"{name:10}{printable(value)}".rstrip())
    if is_purged:
        click.echo("\nits bytes were purged")
        return
    if not raw and letter.length:
        click.echo(
            f"\nits bytes are in the log: {printable(letter.path)}, byte {letter.source_offset}"
        )
        return
    shown = raw[:max_bytes] if max_bytes else raw
    click.echo(f"\n{_escaped(shown)}")
    if len(shown) < len(raw):
        click.echo(f"\n{len(raw) - len(shown)} bytes more: --bytes 0 shows all")


@command.command(short_help="Write them as JSON lines, the oldest first.")
@config_option
@_reason_option
def export(config_path: Path | None, reason: str | None) -> None:
    """Write dead letters as JSON lines, the oldest first, without purged ones.

    The line is in `raw`, or in `raw_base64` when it is not UTF-8.

    Example: prodlensd dead-letters export --reason bad_timestamp
    """
    out = sys.stdout.buffer
    with errors_end_it(temporary=EXIT_TRY_LATER), reading(load_config(config_path)) as reader:
        for letter, raw in reader.letters.with_bytes(reason):
            try:
                content = {"raw": raw.decode()}
            except UnicodeDecodeError:
                content = {"raw_base64": b64encode(raw).decode()}
            # In ASCII: safe on any terminal, whatever the line holds.
            out.write(json.dumps(_as_dict(letter) | content).encode() + b"\n")
    out.flush()


def _as_dict(letter: Refused) -> dict[str, Any]:
    return {
        "id": letter.key.hex(),
        "path": letter.path,
        "source_offset": letter.source_offset,
        "length": letter.length,
        "state": letter.state,
        "reason": letter.reason,
        "detail": letter.detail,
        "received_at": iso_time(letter.received_us),
    }


def _cells(letter: Refused) -> tuple[Cell, ...]:
    received = short_time(letter.received_us)
    return (
        letter.key.hex()[:_SHOWN_DIGITS],
        Both(received, received.partition("T")[0]),
        letter.state,
        letter.reason,
        str(letter.length),
        f"{letter.path}:{letter.source_offset}",
        letter.detail,
    )


def _escaped(raw: bytes) -> str:
    r"""The bytes as text, with \x.. for each that is not part of a printable character."""
    text = raw.decode("utf-8", "surrogateescape")  # a byte that is not UTF-8 is not printable
    return "".join(
        char
        if char.isprintable()
        else "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
        for char in text
    )


# Reading again ----------------------------------------------------------------------------------


@command.command(short_help="Read them again, and move those that can be read now.")
@config_option
@_reason_option
@click.option("--dry-run", is_flag=True, help="Only show what would be moved.")
def retry(config_path: Path | None, reason: str | None, dry_run: bool) -> None:
    """Read dead letters again, and move those that can be read now to the calls.

    For after an upgrade that reads more. Dismissed ones are read too. A line stays that is longer
    than logs.max_line_bytes, not kept whole, or purged. Safe at any time, also while the daemon
    runs, and as often as you like.

    Example: prodlensd dead-letters retry --dry-run
    """
    config = load_config(config_path)
    os.umask(0o077)
    moved: Counter[str] = Counter()
    stayed: Counter[str] = Counter()
    duplicates = 0
    try:
        with errors_end_it(temporary=EXIT_TRY_LATER):
            for batch in dead_letters.retry(config, reason, dry_run=dry_run):
                moved += batch.moved
                stayed += batch.stayed
                duplicates += batch.duplicates
    finally:  # what was moved before a failure is moved
        if moved or stayed:
            titles = ("would move", "would stay") if dry_run else ("moved", "stayed")
            _print_counts(dict(zip(titles, (moved, stayed), strict=True)))
            if duplicates:
                click.echo(f"already in the ledger: {duplicates} of the moved")
    if not moved and not stayed:
        click.echo("no dead letters" + (f" of reason {reason}" if reason else ""))


def _print_counts(columns: dict[str, Counter[str]]) -> None:
    """A table of these counts, by title: of each reason, and in all."""
    counts = columns.values()
    reasons = sorted(set[str]().union(*counts))
    rows = [(reason, *(str(count[reason]) for count in counts)) for reason in reasons]
    rows.append(("all", *(str(count.total()) for count in counts)))
    titles = [Column("reason"), *(Column(title, "right") for title in columns)]
    click.echo(drawn(titles, rows))


# Accepting --------------------------------------------------------------------------------------


def _selecting(command: _Command) -> _Command:
    """The ways to choose dead letters."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Only count them."),
        click.option("--all", "all_", is_flag=True, help="All dead letters."),
        _reason_option,
        click.argument("ids", metavar="[ID]...", nargs=-1),
        config_option,
    ):
        command = option(command)
    return command


@command.command(short_help="Accept them as they are: `status` warns of them no more.")
@_selecting
def dismiss(
    config_path: Path | None, ids: tuple[str, ...], reason: str | None, all_: bool, dry_run: bool
) -> None:
    """Accept dead letters as they are: `status` no longer warns of them.

    They stay in the ledger and are listed by `list --state dismissed`. Say which: by ID, with
    --reason, or --all.

    Example: prodlensd dead-letters dismiss --reason unknown_format
    """
    config = load_config(config_path)
    _accept(config, "dismissed", ids, reason, every=all_, dry_run=dry_run)


@command.command(short_help="Accept them, and delete their bytes for good.")
@_selecting
def purge(
    config_path: Path | None, ids: tuple[str, ...], reason: str | None, all_: bool, dry_run: bool
) -> None:
    """Accept dead letters, and delete their bytes for good.

    What stays is where the line stood, how long it was, and why it was refused; reading it again
    adds nothing. The ledger's file becomes smaller. Say which: by ID, with --reason, or --all. Safe
    at any time, also while the daemon runs, and as often as you like.

    Example: prodlensd dead-letters purge 4f1c09aa
    """
    config = load_config(config_path)
    _accept(config, "purged", ids, reason, every=all_, dry_run=dry_run)
    if dry_run:
        return
    with errors_end_it(temporary=EXIT_TRY_LATER):
        if not dead_letters.free(config):
            click.echo(
                "the ledger is in use: its write-ahead log may hold purged bytes until purge is "
                "run once more",
                err=True,
            )


def _accept(
    config: Config,
    state: str,
    ids: tuple[str, ...],
    reason: str | None,
    *,
    every: bool,
    dry_run: bool,
) -> None:
    """Accepts what was chosen in exactly one way, and prints how many of each reason that were."""
    if [bool(ids), reason is not None, every].count(True) != 1:
        raise click.UsageError("say which: one or more ids, or --reason, or --all")
    os.umask(0o077)
    accepted: Counter[str] = Counter()
    kept_bytes = 0
    try:
        with errors_end_it(temporary=EXIT_TRY_LATER):
            for batch in dead_letters.accept(config, state, ids, reason, dry_run=dry_run):
                accepted += batch.letters
                kept_bytes += batch.kept_bytes
    finally:  # what was accepted before a failure is accepted
        if accepted:
            _print_counts({f"would {_VERBS[state]}" if dry_run else state: accepted})
            if state == "purged":
                click.echo(f"{kept_bytes} bytes of them {'would be' if dry_run else 'are'} gone")
    if not accepted:
        click.echo(f"no dead letters to {_VERBS[state]}")
