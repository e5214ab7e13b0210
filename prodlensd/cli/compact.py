"""`prodlensd compact`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prodlensd.cli import EXIT_LOCKED, config_option, fail, load_config, now_us, shown
from prodlensd.config import Config

if TYPE_CHECKING:
    from prodlensd.compaction import Compacted


@click.command()
@config_option
@click.option("-q", "--quiet", is_flag=True, help="Print nothing.")
def command(config_path: Path | None, quiet: bool) -> None:
    """Bring the Parquet snapshots up to date now.

    Exit code: 0, 1 when it failed, 75 when another compaction or a reader holds the folder.
    """
    from prodlensd.compaction import CompactionLockedError  # noqa: PLC0415 - loads pyarrow
    from prodlensd.store import StoreError, StoreLockedError  # noqa: PLC0415

    config = load_config(config_path)
    os.umask(0o077)
    if not config.store.path.exists():
        raise fail(f"no ledger at {config.store.path}: has the daemon run yet?")
    try:
        written = compact_now(config)
    except (CompactionLockedError, StoreLockedError) as error:
        raise fail(str(error), EXIT_LOCKED) from error
    except (StoreError, OSError) as error:
        raise fail(f"compaction failed: {error}") from error
    if quiet:
        return
    for snapshot in written:
        click.echo(
            f"{shown(str(snapshot.path))}: {snapshot.rows} rows, {snapshot.size_bytes} bytes"
        )
    click.echo(f"{len(written)} snapshots written" if written else "all snapshots are up to date")


def compact_now(config: Config) -> list[Compacted]:
    """Brings the snapshots up to date.

    Raises CompactionLockedError, StoreError or OSError.
    """
    from prodlensd.compaction import compact  # noqa: PLC0415 - loads pyarrow
    from prodlensd.store import Reader, Store  # noqa: PLC0415

    with (
        Store(config.store.path, durability=config.store.durability) as store,
        Reader(config.store.path) as reader,
    ):
        return compact(store, reader, config.parquet.directory, config.host, now=now_us)
