"""What two sections of a git configuration file say, read as git reads them. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_SECTION: Final = re.compile(r'\[\s*([A-Za-z0-9.-]+)\s*(?:"((?:[^"\\\n]|\\.)*)")?\s*\]')
_ENTRY: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]*)\s*(?:=\s*(.*))?\Z")
_PART: Final = re.compile(r'"((?:[^"\\]|\\.)*)"?|((?:[^"\\#;]|\\.)+)|([#;])')


class GitConfig(NamedTuple):
    """What a file says; None is said nowhere in it.

    remotes  the first address of each remote
    email    `user.email`
    depends  whether other files, by the folder that is asked about, may say otherwise
    """

    remotes: dict[str, str]
    email: str | None
    depends: bool


def parse(content: str) -> GitConfig:
    """Reads a file's content. What is no line of such a file is passed over."""
    remotes: dict[str, str] = {}
    email, depends = None, False
    section, name = "", ""
    for line in content.replace("\\\n", "").split("\n"):
        text = line.strip()
        if header := _SECTION.match(text):
            section, name = header[1].lower(), _unescaped(header[2] or "")
            depends = depends or section == "includeif"
            text = text[header.end() :].strip()
        if not (entry := _ENTRY.match(text)):
            continue
        key, value = entry[1].lower(), _value(entry[2] or "")
        if (section, key) == ("remote", "url"):
            remotes.setdefault(name, value)
        elif (section, name, key) == ("user", "", "email"):
            email = value
    return GitConfig(remotes, email, depends)


def _value(text: str) -> str:
    """A value without its quotes and the comment after it."""
    said = ""
    for quoted, plain, comment in _PART.findall(text):
        if comment:
            break
        said += _unescaped(quoted or plain)
    return said.strip()


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
