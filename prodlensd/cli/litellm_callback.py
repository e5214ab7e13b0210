"""`prodlensd litellm-callback`."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import click

from prodlensd.cli import config_option, fail
from prodlensd.durable import replacing
from prodlensd.litellm import COPIED_CALLBACK, COPIED_CALLBACK_FILE, callback_source
from prodlensd.text import printable


@click.command()
@config_option
@click.option("--print", "print_", is_flag=True, help="Print the file (the default).")
@click.option(
    "--install",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the file there, beside LiteLLM's config; one already there is brought up to date.",
)
def command(config_path: Path | None, print_: bool, folder: Path | None) -> None:
    """The LiteLLM callback as one file, for a LiteLLM that lives in another environment.

    Example: prodlensd litellm-callback --install litellm

    Exit code: 0, 1 when the file cannot be written.
    """
    del config_path  # every command takes it; this one does not need it
    if print_ and folder is not None:
        raise click.UsageError("--print and --install exclude each other")
    if folder is None:
        click.echo(callback_source(), nl=False)
        return
    path = folder / COPIED_CALLBACK_FILE
    # The proxy may run as another user and has to read it; only its owner may write what it runs.
    umask = os.umask(0o077) | 0o022
    os.umask(umask)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path, _mode_of(path, 0o666 & ~umask)) as file:
            file.write(callback_source().encode())
    except OSError as error:
        raise fail(f"cannot write {path}: {error.strerror}") from error
    click.echo(
        f'wrote {printable(str(path))}\nin LiteLLM\'s config:  callbacks: ["{COPIED_CALLBACK}"]'
    )


def _mode_of(path: Path, otherwise: int) -> int:
    """The mode of a file that is there, which others may need to read it."""
    try:
        now = path.lstat().st_mode
    except FileNotFoundError:
        return otherwise
    return stat.S_IMODE(now) & ~0o022 if stat.S_ISREG(now) else otherwise
