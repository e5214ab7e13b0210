"""Writes pages of docs/ from the code, and the manual page: `python tests/docs/generate.py`.

What the pages say of a command is its help; of a key, the comment in config.example.toml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import click
import msgspec

from prodlensd import config
from prodlensd.cli import GROUPS
from tests.docs.commands import EXAMPLE, commands, own_options, paragraphs
from tests.docs.man_page import man_page

DOCS: Final = Path(__file__).parents[2] / "docs"

_NOTICE: Final = "<!-- Written by tests/docs/generate.py: change the code, then run that. -->"
_COMMANDS_INTRO: Final = """\
Every command takes `-h` (`--help`) and `-c FILE` (`--config FILE`), the
[configuration](configuration.md) to use.

Exit codes that are the same everywhere: 0 for success, 1 for a failure, 2 for options that do not
fit, 75 when another process has what is needed (try again later), and 78 for a configuration that
cannot be used. `status` differs: see there. What each message means is in
[troubleshooting](troubleshooting.md).
"""
_CONFIGURATION_INTRO: Final = """\
No configuration is needed. `prodlensd init` writes a file in which every key is at its default. The
first of these files is read, and no other:

1. `--config FILE`
2. `$PRODLENSD_CONFIG`
3. `~/.config/prodlensd/config.toml`, or the same in `$XDG_CONFIG_HOME`
4. `/etc/prodlensd/config.toml`

Where `$PRODLENSD_HOME` is set, that folder stands for both `~/.config/prodlensd` and
`~/.local/share/prodlensd`. A path may begin with `~`; a relative one starts from the folder of the
configuration file. An unknown key or a wrong value is an error that names the key. The daemon reads
the file again on SIGHUP; a new `store.path` needs a restart.
"""


# Commands ---------------------------------------------------------------------------------------


def commands_page() -> str:
    """docs/commands.md: each command with its help, options and exit codes."""
    parts = ["# Commands", _NOTICE, _COMMANDS_INTRO.strip()]
    for title, lines in GROUPS.items():
        parts.append(f"**{title}**")
        links = (f"- [`prodlensd {name}`](#prodlensd-{name}): {lines[name]}" for name in lines)
        parts.append("\n".join(links))
    for path, command in commands():
        parts += _command(path, command)
    return "\n\n".join(parts) + "\n"


def _command(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    name = " ".join(("prodlensd", *path))
    yield f"{'#' * (len(path) + 1)} {name}"
    context = click.Context(command, info_name=name)
    yield f"```text\n{' '.join((name, *command.collect_usage_pieces(context)))}\n```"
    yield from map(_paragraph, paragraphs(command))
    if options := own_options(command):
        rows = (_option(option, context) for option in options)
        yield "\n".join(("| option | default | meaning |", "|:--|:--|:--|", *rows))


def _option(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    usage = record[0] if record else option.opts[0]
    has_default = isinstance(option.default, str | int) and not option.is_flag
    default = f"`{option.default}`" if has_default else ""
    return f"| `{_cell(usage)}` | {default} | {_cell(option.help or '')} |"


def _paragraph(text: str) -> str:
    if text.startswith("\b"):
        return f"```text\n{text[1:].strip(chr(10))}\n```"
    filled = " ".join(text.split())
    if filled.startswith(EXAMPLE):
        return f"```sh\n{filled.removeprefix(EXAMPLE)}\n```"
    return filled.replace("Exit code:", "**Exit code:**")


# Configuration ----------------------------------------------------------------------------------


def configuration_page() -> str:
    """docs/configuration.md: each key with its type, default and meaning."""
    parts = ["# Configuration", _NOTICE, _CONFIGURATION_INTRO.strip()]
    meanings, examples, remarks = config.keys(), _examples(), _remarks()
    for table, fields in _tables("", config.Settings):
        parts.append(f"## {f'[{table}]' if table else 'Outside of any table'}")
        parts += [remarks[table]] if table in remarks else []
        rows = ["| key | type | default | meaning |", "|:--|:--|:--|:--|"]
        for field in fields:
            key = f"{table}.{field.encode_name}".lstrip(".")
            cells = (
                f"`{field.encode_name}`",
                type_in_words(field.type),
                _default(field, examples[key]),
            )
            rows.append(f"| {' | '.join(map(_cell, (*cells, meanings[key])))} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _tables(name: str, struct: Any) -> Iterator[tuple[str, list[Any]]]:
    """Each table by its name, with its own fields, in the order of the code."""
    info = cast("msgspec.inspect.StructType", msgspec.inspect.type_info(struct))
    within = {field.encode_name: kind for field in info.fields if (kind := _table_in(field.type))}
    yield name, [field for field in info.fields if field.encode_name not in within]
    for key, kind in within.items():
        yield from _tables(f"{name}.{key}".lstrip("."), kind)


def _table_in(kind: Any) -> Any:
    """The struct that a type is, may be, or is a list of; None when it is a plain value."""
    if isinstance(kind, msgspec.inspect.StructType):
        return kind.cls
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return _table_in(kind.item_type)
    return next(filter(None, map(_table_in, getattr(kind, "types", ()))), None)


def type_in_words(kind: Any) -> str:
    """What a value may be, for people."""
    match kind:
        case msgspec.inspect.UnionType():
            return " or ".join(type_in_words(each) for each in kind.types if not _is_none(each))
        case msgspec.inspect.VarTupleType():
            at_least = ", at least one" if kind.min_length else ""
            return f"list of {type_in_words(kind.item_type)}s{at_least}"
        case msgspec.inspect.LiteralType():
            return " or ".join(f'`"{value}"`' for value in kind.values)
    return _plain_type_in_words(kind)


def _plain_type_in_words(kind: Any) -> str:
    match kind:
        case msgspec.inspect.StrType():
            said = re.match(r"\(\?#(.*?)\)", kind.pattern or "")
            return _PATTERNS.get(said[1], said[1]) if said else "text"
        case msgspec.inspect.IntType():
            return f"whole number, {_limits(kind)}"
        case msgspec.inspect.FloatType():
            return f"number, {_limits(kind)}"
        case msgspec.inspect.CustomType() if kind.cls is Path:
            return "path"
    return {msgspec.inspect.BoolType: "`true` or `false`", msgspec.inspect.DateType: "date"}[
        type(kind)
    ]


#: Where the words of an error message do not fit a table.
_PATTERNS: Final = {
    "a text that is not empty": "text",
    "a file name, which has no '/'": "file name",
    "one line without space around it": "text",
    "a letter or digit, then also any of . _ -": "text of letters, digits and `. _ -`",
}


def _is_none(kind: object) -> bool:
    return isinstance(kind, msgspec.inspect.NoneType)


def _limits(kind: Any) -> str:
    # Limits are whole. `typing` has one object for equal annotations, so one may be 1e6 elsewhere.
    low = f"over {kind.gt:,.0f}" if kind.gt is not None else f"{kind.ge:,.0f} or more"
    high = "" if kind.le >= 1 << 62 else f", {kind.le:,.0f} at most"
    return f"{low}{high}"


def _default(field: Any, example: str) -> str:
    """The default as the file would write it; the built-in paths as the example has them."""
    if field.default is None:
        return "none"
    if field.required and not isinstance(field.type, _PATHS):
        return "required"
    return f"`{example}`"


_PATHS: Final = (msgspec.inspect.CustomType, msgspec.inspect.VarTupleType)


def _examples() -> dict[str, str]:
    """Every dotted key and the value that config.example.toml has for it, as written there."""
    table, values = "", {}
    for line in config.example().splitlines():
        if header := re.match(r"#?\[+([\w.]+)\]", line):
            table = f"{header[1]}."
        elif entry := re.match(r"#?(\w+) = (.*?)  # ", line):
            values[table + entry[1]] = entry[2]
    return values


def _remarks() -> dict[str, str]:
    """The tables that have a comment of their own in config.example.toml, and that comment."""
    found = re.findall(r"(?m)^# (.*)\n#?\[+([\w.]+)\]", config.example())
    return {table: remark for remark, table in found}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


PAGES: Final = {
    "commands.md": commands_page,
    "configuration.md": configuration_page,
    "prodlensd.1": man_page,
}

if __name__ == "__main__":
    for page_name, page in PAGES.items():
        (DOCS / page_name).write_text(page(), encoding="utf-8")
