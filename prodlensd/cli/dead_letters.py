"""`prodlensd dead-letters`: the lines that could not be read; what they were, and once more.

They come from anybody and may hold anything, prompts and escape sequences too. `list` never prints
them, `show` and `export` only escaped, and `show --raw` as they are.
"""

from __future__ import annotations

import json
import os
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click

from prodlensd.app.books import Books
from prodlensd.cli import as_json, config_option, fail, load_config
from prodlensd.app.dead_letters import dismiss, purge
from prodlensd.cli.letters import find, open_reader, reason_option, told_errors
from prodlensd.config import Config
from prodlensd.jobs import retrying as dead_letters
from prodlensd.jobs.retrying import Retried
from prodlensd.ledger import LETTER_STATES, Ledger, Prices, Reader, Redeemed, Refused
from prodlensd.moments import iso_time, now_us, short_time
from prodlensd.pricing import Pricer
from prodlensd.text import printable, table

_MIN_SHOWN_DIGITS: Final = 8
_HEADER: Final = ("id", "received", "state", "reason", "length", "path:offset", "detail")


@click.group()
def command() -> None:
    """The lines that could not be read: list, show, export, retry, dismiss and purge them.

    Exit code: 0, 1 when it failed, 75 when another process holds the ledger.
    """


command.add_command(dismiss)
command.add_command(purge)


@command.command("list")
@config_option
@reason_option
@click.option(
    "--state",
    type=click.Choice([*LETTER_STATES, "all"]),
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
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object, with whole ids.")
def list_(
    config_path: Path | None, reason: str | None, state: str, limit: int, as_json_: bool
) -> None:
    """List dead letters, the newest first, without their content.

    Example: prodlensd dead-letters list --reason invalid_json
    """
    states = LETTER_STATES if state == "all" else (state,)
    with open_reader(load_config(config_path)) as reader:
        by_state = reader.letters.count_by_state(reason)
        letters = list(reader.letters.newest(reason, states, most=limit or None))
        digits = _digits(reader, letters)
    total = sum(by_state[each] for each in states)
    more = max(0, total - len(letters))
    if as_json_:
        listed = [_as_dict(letter) for letter in letters]
        answer = {"dead_letters": listed, "total": total, "more": more, "by_state": by_state}
        click.echo(as_json("dead-letters", answer))
        return
    if letters:
        click.echo(table(_HEADER, [_cells(letter, digits) for letter in letters], right={"length"}))
    else:
        which = "" if state == "all" else f"{state} "
        click.echo(f"no {which}dead letters" + (f" of reason {reason}" if reason else ""))
    if more:
        click.echo(f"and {more} more: --limit 0 lists all")
    others = [f"{by_state[each]} {each}" for each in LETTER_STATES if each not in states]
    if sum(by_state.values()) > total:
        click.echo(f"and {', '.join(others)}: --state all lists them too")


@command.command()
@config_option
@click.argument("id_", metavar="ID")
@click.option(
    "--bytes",
    "max_bytes",
    type=click.IntRange(min=0),
    default=4096,
    metavar="N",
    show_default=True,
    help="Show at most N bytes of the line; 0: all.",
)
@click.option("--raw", "as_raw", is_flag=True, help="Write the line's exact bytes, nothing else.")
def show(config_path: Path | None, id_: str, max_bytes: int, as_raw: bool) -> None:
    r"""Show one dead letter, with its line.

    What is not printable is shown as \x..

    ID is the id that `list` shows, or any beginning of it that no other has.

    Example: prodlensd dead-letters show 4f1c09aa
    """
    with open_reader(load_config(config_path)) as reader:
        letter = find(reader, id_)
        raw = reader.letters.bytes_of(letter.key)
    is_purged = letter.state == "purged"
    if as_raw:
        if is_purged:
            raise fail("its bytes were purged")
        sys.stdout.buffer.write(raw)
        return
    is_head = letter.kept_bytes < letter.length and not is_purged
    kept = f", the first {letter.kept_bytes} kept" if is_head else ""
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
    shown = raw[:max_bytes] if max_bytes else raw
    click.echo(f"\n{_escaped(shown)}")
    if len(shown) < len(raw):
        click.echo(f"\n{len(raw) - len(shown)} bytes more: --bytes 0 shows all")


@command.command()
@config_option
@reason_option
def export(config_path: Path | None, reason: str | None) -> None:
    """Write dead letters as JSON lines, the oldest first, without purged ones.

    The line is in `raw`, or in `raw_base64` when it is not UTF-8.

    Example: prodlensd dead-letters export --reason bad_timestamp
    """
    out = sys.stdout.buffer
    with open_reader(load_config(config_path)) as reader:
        for letter, raw in reader.letters.with_bytes(reason):
            try:
                content = {"raw": raw.decode()}
            except UnicodeDecodeError:
                content = {"raw_base64": b64encode(raw).decode()}
            # In ASCII: safe on any terminal, whatever the line holds.
            out.write(json.dumps(_as_dict(letter) | content).encode() + b"\n")
    out.flush()


@command.command()
@config_option
@reason_option
@click.option("--dry-run", is_flag=True, help="Only say what would be moved.")
def retry(config_path: Path | None, reason: str | None, dry_run: bool) -> None:
    """Read dead letters again, and move what is a trace now.

    Safe at any time, also while the daemon runs, and as often as you like. Dismissed ones are
    read too. A line over logs.max_line_bytes, not kept whole, or purged, stays.

    Example: prodlensd dead-letters retry --dry-run
    """
    config = load_config(config_path)
    os.umask(0o077)
    moved: Counter[str] = Counter()
    stayed: Counter[str] = Counter()
    duplicates = 0
    try:
        for batch in _retry(config, reason, dry_run=dry_run):
            moved += batch.moved
            stayed += batch.stayed
            duplicates += batch.duplicates
    finally:  # what was moved before a failure is moved
        if moved or stayed:
            _print_retried(moved, stayed, duplicates, dry_run=dry_run)
    if not moved and not stayed:
        click.echo("no dead letters" + (f" of reason {reason}" if reason else ""))


def _retry(config: Config, reason: str | None, *, dry_run: bool) -> Iterator[Retried]:
    """What becomes of the dead letters, batch by batch."""
    path = config.store.path
    with told_errors(), ExitStack() as stack:
        pricer = Pricer()
        redeem: Callable[[list[dead_letters.Read]], Redeemed] = _no_move
        if not dry_run:
            if not path.exists():
                raise fail(f"no ledger at {path}: has the daemon run yet?")
            ledger = stack.enter_context(Ledger(path, durability=config.store.durability))
            books = Books(config.pricing, Prices(ledger, now_us))
            stack.callback(books.close)
            pricer, redeem = books.pricer, ledger.redeem
        yield from dead_letters.retry(
            stack.enter_context(Reader(path)).letters.with_bytes(reason),
            pricer=pricer,
            redeem=redeem,
            max_line_bytes=config.logs.max_line_bytes,
        )


def _no_move(letters: list[dead_letters.Read]) -> Redeemed:
    return Redeemed([key for key, _ in letters], 0)


def _print_retried(
    moved: Counter[str], stayed: Counter[str], duplicates: int, *, dry_run: bool
) -> None:
    header = ("reason", *(("would move", "would stay") if dry_run else ("moved", "stayed")))
    reasons = sorted({*moved, *stayed})
    rows = [(reason, str(moved[reason]), str(stayed[reason])) for reason in reasons]
    rows.append(("all", str(moved.total()), str(stayed.total())))
    click.echo(table(header, rows, right=header[1:]))
    if duplicates:
        click.echo(f"already in the ledger: {duplicates} of the moved")


def _digits(reader: Reader, letters: Iterable[Refused]) -> int:
    """How many digits of these ids no other dead letter's id begins with."""
    digits = _MIN_SHOWN_DIGITS
    for letter in letters:
        for neighbour in reader.letters.neighbours(letter.key):
            pairs = zip(letter.key.hex(), neighbour.hex(), strict=True)
            first = next(i for i, (one, other) in enumerate(pairs) if one != other)
            digits = max(digits, first + 1)
    return digits


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


def _cells(letter: Refused, digits: int) -> tuple[str, ...]:
    return (
        letter.key.hex()[:digits],
        short_time(letter.received_us),
        letter.state,
        letter.reason,
        str(letter.length),
        f"{letter.path}:{letter.source_offset}",
        letter.detail,
    )


def _escaped(raw: bytes) -> str:
    r"""The bytes as text, with \x.. for each that is not part of a printable character."""
    text = raw.decode("utf-8", "surrogateescape")  # a byte that is no UTF-8 is not printable
    return "".join(
        char
        if char.isprintable()
        else "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
        for char in text
    )
