"""What the keys mean, and what is wrong with a value, in words of the file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec

from prodlensd.config.settings import Settings
from prodlensd.text import did_you_mean


def example() -> str:
    """A configuration file with every key, its default and its meaning."""
    return Path(__file__).parents[1].joinpath("config.example.toml").read_text(encoding="utf-8")


def keys() -> dict[str, str]:
    """Every dotted key and its meaning."""
    table, meanings = "", {}
    for line in example().splitlines():
        if header := re.match(r"#?\[+([\w.]+)\]", line):
            table = f"{header[1]}."
        elif entry := re.match(r"#?(\w+) = .*?  # (.*)", line):
            meanings[table + entry[1]] = entry[2]
    return meanings


def explain(verdict: str, tree: dict[str, Any]) -> str:
    """The verdict of msgspec in words of the file. Tests pin the phrases that this relies on."""
    fault, _, place = verdict.rpartition(" - at `$[0]")
    key = place.strip("`.")
    found: Any = tree
    for step in re.findall(r"\w+", key):
        found = found[int(step) if step.isdigit() else step]
    if field := re.fullmatch(r"(?s)Object (contains|missing) \w+ field `(.*)`", fault):
        key = f"{key}.{field[2]}".strip(".")
        if field[1] == "contains":
            return f"unknown key {key!r}{_suggestion(_general(key))}"
        problem = "missing"
    elif isinstance(found, dict) and ": " in fault:  # from a __post_init__ above
        name, _, problem = fault.partition(": ")
        key = f"{key}.{name}".lstrip(".")
    else:
        words = re.sub(r"`str` matching regex .\(\?#|\)\\.*|, got .*| \| null|`", "", fault)
        words = words.replace("object", "table").replace("array", "list")
        words = words.replace("bool | list", "true, false or a list")
        meant = ""
        if words.startswith("Invalid enum "):
            choices = [*map(json.dumps, _choices(_general(key)))]
            words = f"Expected {', '.join(choices[:-1])} or {choices[-1]}"
            meant = did_you_mean(_shown(found), choices)
        problem = f"{words[0].lower()}{words[1:]}, found {_shown(found)}{meant}"
    return with_meaning(key, problem)


def with_meaning(key: str, problem: str) -> str:
    """What is wrong with a key, and what the key means."""
    meaning = keys().get(_general(key))
    return f"{key}: {problem}" + (f" ({meaning})" if meaning else "")


def _general(key: str) -> str:
    """The key without the numbers of entries in lists."""
    return re.sub(r"\[\d+\]", "", key)


def _choices(key: str) -> tuple[str, ...]:
    """The words of which a key has one."""
    kind: Any = Settings
    for step in key.split("."):
        fields = msgspec.structs.fields(kind)
        [kind] = [field.type for field in fields if field.encode_name == step]
    return get_args(kind)


def _suggestion(key: str) -> str:
    tables = {known.rpartition(".")[0] for known in keys()} - {""}
    same_depth = (table for table in tables if table.count(".") == key.count("."))
    return did_you_mean(key, [*keys(), *same_depth], most=1, shown=repr)


def _shown(value: object) -> str:
    """A value much as the file wrote it, cut short, and without what may be a password."""
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
        return f"{re.sub('://[^/]*@', '://…@', text):.60}"
    except ValueError:  # an integer of thousands of digits
        return "a number too long to show"
