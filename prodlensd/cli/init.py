"""`prodlensd init`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from prodlensd.app.transcripts import offered
from prodlensd.cli import config_option, fail, load_config
from prodlensd.config import example, user_file
from prodlensd.litellm import (
    COPIED_CALLBACK,
    COPIED_CALLBACK_FILE,
    callback_source,
    litellm_config,
    next_steps,
)
from prodlensd.text import printable

_LITELLM_LINES = """\
Your LiteLLM proxy writes the traces with this in its config, where prodlensd
is installed too:

  litellm_settings:
    callbacks: ["prodlensd.litellm_callback.trace_logger"]
    request_correlation_in_logs: true

and in its environment

  LITELLM_LOG_DIR={log_folder}

Where LiteLLM lives elsewhere, copy the callback beside its config:
prodlensd litellm-callback --install DIR
No proxy yet? prodlensd init --proxy DIR
"""
_AGENT = """\

{found}
To count these calls too, set {key} under [transcripts].
"""
_NEXT = """\

Next, the daemon as a service (in the foreground: prodlensd run{config}):

  prodlensd service install{config}

and then, whether all is wired:

  prodlensd doctor{config}
"""


@click.command()
@config_option
@click.option(
    "--proxy",
    "proxy_folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write a ready LiteLLM config and the callback there instead.",
)
def command(config_path: Path | None, proxy_folder: Path | None) -> None:
    """Write a commented configuration and show what to add to LiteLLM's.

    With --proxy, write a LiteLLM configuration instead. Nothing is overwritten.

    Example: prodlensd init --proxy litellm

    Exit code: 0, 1 when a file is already there or cannot be written.
    """
    os.umask(0o077)  # people write keys and passwords into configurations
    if proxy_folder is not None:
        _write_proxy(proxy_folder.absolute(), load_config(config_path).logs.directories[0])
        _say_next(config_path)
        return
    path = (config_path or user_file()).absolute()
    _write_new({path: example()})
    config = load_config(path)
    log_folder = printable(str(config.logs.directories[0]))
    click.echo(
        f"wrote {printable(str(path))}\n\n{_LITELLM_LINES.format(log_folder=log_folder)}", nl=False
    )
    for found, key in offered(config):
        click.echo(_AGENT.format(found=printable(found), key=key), nl=False)
    _say_next(config_path)


def _say_next(config_path: Path | None) -> None:
    option = "" if config_path is None else f" -c {shlex.quote(printable(str(config_path)))}"
    click.echo(_NEXT.format(config=option), nl=False)


def _write_proxy(folder: Path, log_folder: Path) -> None:
    config_path = folder / "litellm_config.yaml"
    _write_new(
        {
            config_path: litellm_config(COPIED_CALLBACK),
            folder / COPIED_CALLBACK_FILE: callback_source(),
        }
    )
    for path in (config_path, folder / COPIED_CALLBACK_FILE):
        click.echo(f"wrote {printable(str(path))}")
    click.echo(f"\n{next_steps(config_path, log_folder)}", nl=False)


def _write_new(files: dict[Path, str]) -> None:
    """All of the files or, when one is there already, none."""
    for path in files:
        if path.exists():
            raise fail(f"{path} is already there; move it away to get a new one")
    try:
        for path, text in files.items():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise fail(f"cannot write: {error}") from error
