"""docs/troubleshooting.md has every message of the program, and none that is gone."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

import prodlensd
from tests.docs.messages import CALLS, CONSTANTS, NAMES, RETURNS, Message, messages

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
PACKAGE = Path(prodlensd.__file__).parent
#: Messages that the page need not have, and why.
NOT_ON_THE_PAGE = {
    "model_unknown:…": "an unpriced_reason: docs/pricing.md lists them all",
    "price_unknown:…": "likewise",
    **dict.fromkeys(
        (
            "corrections.toml has the tables …",
            "corrections.toml: not a whole row: …",
            "corrections.toml: not one meaning for …: …",
            "corrections.toml: unknown keys for …: …",
        ),
        "a file of the package, which its tests read",
    ),
    **dict.fromkeys(
        (
            "Ask the table calls: `;` ends a query, Ctrl-D leaves; DESCRIBE calls; helps",
            "Error: …",
            "calls>",
            "interrupted",
        ),
        "the prompt of `sql`, which says what it has just done",
    ),
    "module … has no attribute …": "as Python says it, of a mistake in the program",
    "no status line": "`status` says instead that the proxy does not speak HTTP",
    "… of … calls …": "the result of a reprice in which all went well",
}


@cache
def all_said() -> Sequence[Message]:
    """The messages of the program: to find them takes two seconds."""
    return list(messages(PACKAGE))


def said() -> Mapping[str, Message]:
    return {message.text: message for message in all_said()}


def listed(page: str) -> set[str]:
    """The messages in the first column of the page's tables."""
    cells = re.findall(r"(?m)^\| (`+)(.+?)\1 \|", page)
    return {text.strip().replace(r"\|", "|") for _, text in cells}


def differences(page: str, said: Mapping[str, Message]) -> list[str]:
    """What is to be changed on the page, a line each."""
    on_page = listed(page)
    gone = sorted(on_page - said.keys())
    found = [f"is on the page, and no longer in the code: {text}" for text in gone]
    for text in sorted(said.keys() - on_page - NOT_ON_THE_PAGE.keys()):
        alike = difflib.get_close_matches(text, gone, n=1)
        where = f"perhaps instead of {alike[0]!r}" if alike else "and not on the page"
        found.append(f"is in the code ({said[text].place}), {where}: {text}")
    return found


def test_the_page_has_every_message_and_none_that_is_gone() -> None:
    found = differences(PAGE.read_text(encoding="utf-8"), said())
    assert not found, "\n".join(["docs/troubleshooting.md", *found])


def test_a_message_that_has_changed_is_named_with_what_the_page_has() -> None:
    page = "| message | cause | remedy |\n|:--|:--|:--|\n| `no store at …` | - | - |\n"
    now = {"no ledger at …": Message("no ledger at …", "fail", "cli/a.py:7")}
    assert differences(page, now) == [
        "is on the page, and no longer in the code: no store at …",
        "is in the code (cli/a.py:7), perhaps instead of 'no store at …': no ledger at …",
    ]


def test_every_row_gives_a_cause_and_a_remedy() -> None:
    rows = re.findall(r"(?m)^\| `.*", PAGE.read_text(encoding="utf-8"))
    assert [] == [
        row for row in rows if not re.fullmatch(r"\| (`+).+?\1 \| [^|]+ \| [^|]+ \|", row)
    ]


def test_what_need_not_be_on_the_page_is_still_in_the_code() -> None:
    assert NOT_ON_THE_PAGE.keys() <= said().keys()


def test_every_rule_finds_messages() -> None:
    """When what it names is renamed, its messages would be missed in silence."""
    found = {message.rule for message in all_said()}
    assert set() == {*CALLS, *NAMES, *RETURNS, *CONSTANTS} - found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("raise fail(f'no {thing} at {place}: {why}', 75)", ["no … at …: …"]),
        ("raise StoreError('it is '\n'gone') from error", ["it is gone"]),
        ("raise AssertionError('a broken invariant')", []),
        ("log.warning('cannot read', path=path)", ["cannot read"]),
        ("log.warning('%d lines lost: %s', 3, why)", ["… lines lost: …"]),
        ("remedy = '' if ok else 'mend it'; Check('a', s, 'value', remedy)", ["mend it", "value"]),
        ("value = 'one'; value += f', {n} more'; Check('a', s, value)", ["one", "… more"]),
        ("click.echo('once more', err=True); click.echo('all is well')", ["once more"]),
        ("self.fault = f'{what} cannot start'", ["… cannot start"]),
        ("print('a result')", []),
    ],
)
def test_a_message_is_found_wherever_it_stands(
    source: str, found: list[str], tmp_path: Path
) -> None:
    module = tmp_path / "any" / "where.py"
    module.parent.mkdir()
    module.write_text(f"def f():\n    {source}\n", encoding="utf-8")
    assert sorted(found) == sorted(message.text for message in messages(tmp_path))
