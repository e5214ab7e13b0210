"""docs/prodlensd.1, the manual page: of each command what its --help says, in roff.

click-man would write a page for each command, with the day's date, and would fill our tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from prodlensd import __version__
from prodlensd.cli import GROUPS, main
from tests.docs.commands import EXAMPLE, commands, own_options, paragraphs

_NOTICE: Final = '.\\" Written by tests/docs/generate.py: change the code, then run that.'
_EVERYWHERE: Final = {
    "-c, --config FILE": "The configuration to use, of every command.",
    "-h, --help": "Say what a command does.",
    "-V, --version": "Show the version.",
    "--from URL": "Without a command: the overview of a published folder or bucket.",
}
_EXIT_CODES: Final = {
    "0": "Success.",
    "1": "A failure.",
    "2": "Options that do not fit.",
    "75": "Another process has what is needed: try again later.",
    "78": "A configuration that cannot be used.",
}
_FILES: Final = {
    "~/.config/prodlensd/config.toml": "The configuration; prodlensd init writes it.",
    "/etc/prodlensd/config.toml": "The same for the machine, where the user has none.",
    "~/.local/share/prodlensd/logs": "The log files to read, unless configured.",
    "~/.local/share/prodlensd/prodlens.db": "The ledger, unless configured.",
    "~/.local/share/prodlensd/parquet": "The snapshots, unless configured.",
}
_ENVIRONMENT: Final = {
    "PRODLENSD_CONFIG": "The configuration to use, where no --config is given.",
    "PRODLENSD_HOME": "A folder that stands for ~/.config/prodlensd and ~/.local/share/prodlensd.",
    "TZ": "The time zone of days, where no --timezone is given.",
    "NO_COLOR": "When set, nothing is coloured.",
}
#: What roff would take for a command, or draw as a finer sign.
_ESCAPES: Final = str.maketrans(
    {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "~": "\\(ti", "^": "\\(ha"}
    | {"|": "|\\:"}  # a line may end there: lists of choices are long
)


def man_page() -> str:
    """The page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    purpose, overview = paragraphs(main)
    yield _NOTICE
    yield f'.TH PRODLENSD 1 "" "prodlensd {__version__}" "User Commands"'
    yield from (".ad l", ".nh")  # neither stretched lines nor broken words
    yield from (".SH NAME", f"prodlensd \\- {_text(purpose)}")
    yield from (".SH SYNOPSIS", ".B prodlensd", _text("[OPTIONS] [COMMAND] [ARGS]..."))
    yield from (".SH DESCRIPTION", _text(purpose), ".PP", _text(overview))
    for title, lines in GROUPS.items():
        yield from (f".SS {title}", ".PD 0")  # no line between them
        yield from _list(lines, indent=" 14")
        yield ".PD"
    yield ".SH OPTIONS"
    yield from _list(_EVERYWHERE)
    yield ".SH COMMANDS"
    for path, command in commands():
        yield from _command(path, command)
    for title, terms in (
        ("EXIT STATUS", _EXIT_CODES),
        ("ENVIRONMENT", _ENVIRONMENT),
        ("FILES", _FILES),
    ):
        yield f".SH {title}"
        yield from _list(terms)


def _command(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    name = " ".join(("prodlensd", *path))
    context = click.Context(command, info_name=name)
    yield f".SS {_text(' '.join((name, *command.collect_usage_pieces(context))))}"
    for paragraph in paragraphs(command):
        yield ".PP"
        yield from _paragraph(paragraph)
    records = (option.get_help_record(context) for option in own_options(command))
    yield from _list({record[0]: record[1] for record in records if record})


def _paragraph(text: str) -> Iterator[str]:
    if text.startswith("\b"):
        yield from (".nf", *map(_text, text[1:].strip("\n").splitlines()), ".fi")
    elif text.startswith(EXAMPLE):
        yield from (".nf", f"    \\fB{_text(text.removeprefix(EXAMPLE))}\\fP", ".fi")
    else:
        yield _text(" ".join(text.split()))


def _list(terms: dict[str, str], *, indent: str = "") -> Iterator[str]:
    for term, meaning in terms.items():
        yield from (f".TP{indent}", f"\\fB{_text(term)}\\fP", _text(meaning))


def _text(text: str) -> str:
    """A line as roff shows it as it is, to be copied into a shell."""
    escaped = text.translate(_ESCAPES)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
