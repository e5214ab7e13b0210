"""The options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from prodlensd.config import check_address

config_option: Final = click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Configuration file (default: $PRODLENSD_CONFIG, the user's, /etc/prodlensd/config.toml).",
)


def _address(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    if url is not None:
        try:
            check_address(url)
        except ValueError as error:
            raise click.UsageError(f"--from: {error}") from error
    return url


from_option: Final = click.option(
    "--from",
    "url",
    metavar="URL",
    callback=_address,
    help="A published folder or bucket, of many hosts.",
)
