"""`prodlensd dead-letters`: the lines that could not be read; what they were, and once more.

They come from anybody and may hold anything, prompts and escape sequences too. `list` never prints
them, `show` and `export` only escaped, and `show --raw` as they are.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import click

from prodlensd import dead_letters, formats
from prodlensd.cli import EXIT_LOCKED, as_json, config_option, fail, iso_time, load_config
from prodlensd.cli.pricing import Books
from prodlensd.cli.table import plain, print_table
from prodlensd.config import Config
from prodlensd.dead_letters import Retried
from prodlensd.model import DIGEST_BYTES, REASONS, US_PER_S, Price, Trace
from prodlensd.pricing import BookUnavailableError
from prodlensd.store import (
    Prices,
    Reader,
    Redeemed,
    Refused,
    Store,
    StoreError,
    StoreLockedError,
)

_ID_DIGITS: Final = 2 * DIGEST_BYTES
_MIN_SHOWN_DIGITS: Final = 8
_HEADER: Final = ("id", "received", "reason", "length", "path:offset", "detail")

_reason_option: Final = click.option(
    "--reason", type=click.Choice(REASONS), help="Only the lines refused for this reason."
)


@click.group()
def command() -> None:
    """The lines that could not be read: list, show, export and retry them.

    Exit code: 0, 1 when it failed, 75 when somebody else holds the ledger.
    """
    # Elsewhere than in UTF-8 a character that the terminal does not know is no reason to fail.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@command.command("list")
@config_option
@_reason_option
@click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, help="At most; 0: all."
)
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object, with whole ids.")
def list_(config_path: Path | None, reason: str | None, limit: int, as_json_: bool) -> None:
    """List dead letters, the newest first, without what they say."""
    with _reader(load_config(config_path)) as reader:
        total = sum(n for why, n in reader.dead_letters().items() if reason in (None, why))
        letters = list(reader.refused(reason, newest=limit or None))
        digits = _digits(reader, letters)
    more = max(0, total - len(letters))
    if as_json_:
        told = [_as_dict(letter) for letter in letters]
        click.echo(as_json("dead-letters", {"dead_letters": told, "total": total, "more": more}))
        return
    if not letters:
        click.echo("no dead letters" + (f" of reason {reason}" if reason else ""))
        return
    print_table(_HEADER, [_cells(letter, digits) for letter in letters], right={"length"})
    if more:
        click.echo(f"and {more} more: --limit 0 lists all")


@command.command()
@config_option
@click.argument("id_", metavar="ID")
@click.option(
    "--bytes",
    "max_bytes",
    type=click.IntRange(min=0),
    default=4096,
    show_default=True,
    help="Show so many bytes of the line; 0: all.",
)
@click.option("--raw", "as_raw", is_flag=True, help="Write the line's exact bytes, nothing else.")
def show(config_path: Path | None, id_: str, max_bytes: int, as_raw: bool) -> None:
    r"""Show one dead letter, with its line.

    What is not printable is shown as \x..

    ID is the id that `list` shows, or any beginning of it that no other has.
    """
    with _reader(load_config(config_path)) as reader:
        letter, raw = _find(reader, id_)
    if as_raw:
        sys.stdout.buffer.write(raw)
        return
    kept = "" if letter.kept_bytes == letter.length else f", the first {letter.kept_bytes} kept"
    for name, value in (
        ("id", letter.key.hex()),
        ("received", iso_time(letter.received_us)),
        ("reason", letter.reason),
        ("detail", letter.detail),
        ("from", f"{letter.path}:{letter.source_offset} (source {letter.source_id})"),
        ("length", f"{letter.length} bytes{kept}"),
    ):
        click.echo(f"{name:10}{plain(value)}".rstrip())
    shown = raw[:max_bytes] if max_bytes else raw
    click.echo(f"\n{_escaped(shown)}")
    if len(shown) < len(raw):
        click.echo(f"\n{len(raw) - len(shown)} bytes more: --bytes 0 shows all")


@command.command()
@config_option
@_reason_option
def export(config_path: Path | None, reason: str | None) -> None:
    """Write dead letters as JSON lines, the oldest first.

    The line is in `raw`, or in `raw_base64` when it is not UTF-8.
    """
    out = sys.stdout.buffer
    with _reader(load_config(config_path)) as reader:
        for letter, raw in reader.refused_lines(reason):
            try:
                content = {"raw": raw.decode()}
            except UnicodeDecodeError:
                content = {"raw_base64": b64encode(raw).decode()}
            # In ASCII: safe on any terminal, whatever the line holds.
            out.write(json.dumps(_as_dict(letter) | content).encode() + b"\n")
    out.flush()


@command.command()
@config_option
@_reason_option
@click.option("--dry-run", is_flag=True, help="Only say what would be moved.")
def retry(config_path: Path | None, reason: str | None, dry_run: bool) -> None:
    """Read dead letters again, and move what is a trace now.

    Safe at any time, also while the daemon runs, and as often as you like. A line over
    logs.max_line_bytes, or not kept whole, stays.
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
    with _told_errors(), ExitStack() as stack:
        price: Callable[[Trace], Price] = _no_price
        redeem: Callable[[list[dead_letters.Read]], Redeemed] = _no_move
        if not dry_run:
            if not path.exists():
                raise fail(f"no ledger at {path}: has the daemon run yet?")
            store = stack.enter_context(Store(path, durability=config.store.durability))
            books = Books(config.pricing, Prices(store))
            stack.callback(books.close)
            price, redeem = books.pricer.price, store.redeem
        yield from dead_letters.retry(
            stack.enter_context(Reader(path)),
            reason=reason,
            parse=formats.parse,
            price=price,
            redeem=redeem,
            max_line_bytes=config.logs.max_line_bytes,
        )


def _no_price(_trace: Trace) -> Price:
    return Price(None, "unpriced")


def _no_move(letters: list[dead_letters.Read]) -> Redeemed:
    return Redeemed([key for key, _ in letters], 0)


def _print_retried(
    moved: Counter[str], stayed: Counter[str], duplicates: int, *, dry_run: bool
) -> None:
    header = ("reason", *(("would move", "would stay") if dry_run else ("moved", "stayed")))
    reasons = sorted({*moved, *stayed})
    rows = [(reason, str(moved[reason]), str(stayed[reason])) for reason in reasons]
    rows.append(("all", str(moved.total()), str(stayed.total())))
    print_table(header, rows, right=header[1:])
    if duplicates:
        click.echo(f"already in the ledger: {duplicates} of the moved")


@contextmanager
def _reader(config: Config) -> Iterator[Reader]:
    with _told_errors(), Reader(config.store.path) as reader:
        yield reader


@contextmanager
def _told_errors() -> Iterator[None]:
    try:
        yield
    except StoreLockedError as error:
        raise fail(str(error), EXIT_LOCKED) from error
    except (StoreError, BookUnavailableError) as error:
        raise fail(str(error)) from error


def _find(reader: Reader, id_: str) -> tuple[Refused, bytes]:
    """The one dead letter whose id begins so."""
    if not re.fullmatch(rf"[0-9A-Fa-f]{{1,{_ID_DIGITS}}}", id_):
        raise fail(f"{id_!a} is no id: those are hexadecimal digits, as `list` shows them")
    first, last = (bytes.fromhex(id_.ljust(_ID_DIGITS, digit)) for digit in "0f")
    found = reader.refused_between(first, last)
    if not found:
        raise fail(f"no dead letter has an id that begins with {id_}")
    if len(found) > 1:
        raise fail(f"more than one dead letter has an id that begins with {id_}: give more of it")
    return found[0]


def _digits(reader: Reader, letters: Iterable[Refused]) -> int:
    """How many digits of these ids no other dead letter's id begins with."""
    digits = _MIN_SHOWN_DIGITS
    for letter in letters:
        for neighbour in reader.neighbours(letter.key):
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
        "reason": letter.reason,
        "detail": letter.detail,
        "received_at": iso_time(letter.received_us),
    }


def _cells(letter: Refused, digits: int) -> tuple[str, ...]:
    return (
        letter.key.hex()[:digits],
        iso_time(letter.received_us // US_PER_S * US_PER_S),
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
