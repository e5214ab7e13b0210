"""Filters: a pattern lets pass what a shell's would, and nothing in it is anything but text."""

from __future__ import annotations

from fnmatch import fnmatchcase

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prodlensd.answers.questions import BY, FILTERS, sql_of_filters

TEXTS = st.text("ab*?[]\\%_'$-ö漢\n", max_size=8)


def passes(name: str, value: str | None, *patterns: str) -> bool:
    """Whether a call passes whose values are all this one."""
    condition, values = sql_of_filters([(name, patterns)])
    columns = {of.sql for by, of in BY.items() if not of.is_time and by not in {"tag", "source"}}
    row = ", ".join(f"$value AS {column}" for column in columns)
    row += ", json_object('source', $value) AS details"
    sql = f"SELECT {condition} FROM (SELECT {row}, if($value IS NULL, [], [$value]) AS tag_list)"
    with duckdb.connect() as db:
        ((found,),) = db.execute(sql, values | {"value": value}).fetchall()
    return bool(found)


@pytest.mark.long
@given(TEXTS, TEXTS)
@example("böb", "b?b")
@example("a\nb", "a*b")
@example("100%", "100%")
@example("1000", "100%")
@example("a_b", "a_b")
@example("axb", "a_b")
@example("a\\b", "a\\b")
@example("[a]", "[a]")
@example("a", "[a]")
def test_a_star_is_any_text_a_question_mark_any_character_and_all_else_itself(
    value: str, pattern: str
) -> None:
    expected = fnmatchcase(value, pattern.replace("[", "[[]"))
    assert expected == passes("model", value, pattern)
    assert expected == passes("tag", value, pattern)


def test_every_filter_takes_several_patterns_and_none() -> None:
    for name in FILTERS:
        assert passes(name, "x", "y", "x")
        assert not passes(name, "x", "y", "(none)")
        has_none = name != "source"  # a call of no other source is the proxy's
        assert has_none == passes(name, None, "y", "(none)")
        assert has_none != passes(name, None, "*"), "no value is no text"


def test_bytes_that_are_no_text_fit_nothing() -> None:
    assert not passes("model", "a", "\udcff")
