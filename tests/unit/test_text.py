"""What a person sees of numbers, and of texts from outside."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from prodlensd.text import (
    Both,
    Column,
    Row,
    alike,
    count_cell,
    counted,
    did_you_mean,
    duration,
    fitted,
    latency,
    money,
    none_of,
    percent,
    printable,
    short_count,
    short_money,
    size,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/logs/a b.jsonl", "/logs/a b.jsonl"),
        ("日本", "日本"),
        ("a\x1b[31m\nb", r"a\x1b[31m\nb"),
        ("\udcff", r"\udcff"),
        ("\u202e", r"\u202e"),
    ],
)
def test_what_steers_a_terminal_is_spelled_out(text: str, shown: str) -> None:
    assert shown == printable(text)


def test_columns_line_up_by_the_cells_that_a_terminal_gives_them() -> None:
    rows = [("日本", "1"), ("a\x07", "23")]
    columns = (Column("name"), Column("n", "right"))
    assert "name    n\n日本    1\na\\x07  23" == fitted(columns, rows)


@pytest.mark.parametrize(
    ("nanousd", "shown"),
    [
        (0, "$0.00"),
        (1_234_567_890_000, "$1,234.57"),
        (3_000_000, "$0.003"),
        (123_456, "$0.0001235"),
        (1, "$0.000000001"),
    ],
)
def test_money_has_cents_or_four_significant_digits(nanousd: int, shown: str) -> None:
    assert shown == money(nanousd)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (7e12, "7.0 TB")],
)
def test_sizes_are_in_the_largest_unit(count: float, shown: str) -> None:
    assert shown == size(count)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_durations_are_in_the_largest_unit_of_which_there_are_two(
    seconds: float, shown: str
) -> None:
    assert shown == duration(seconds)


def test_one_thing_is_not_things() -> None:
    assert ("1 call", "0 calls", "1,200 calls") == (
        counted(1, "call"),
        counted(0, "call"),
        counted(1200, "call"),
    )


# Numbers in few cells


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (1249, "1.2k"),
        (34_500_000, "34.5M"),
        (999_949, "999.9k"),
        (999_950, "1.0M"),
        (999_999_999, "1.00B"),
        (2_908_118_851, "2.91B"),
        (999_994_999_999, "999.99B"),
        (999_995_000_000, "1.00T"),
        (2**63, "9,223,372.04T"),
        (-1500, "-1.5k"),
    ],
)
def test_a_short_count_is_rounded_to_the_unit_that_it_then_has(count: int, shown: str) -> None:
    assert shown == short_count(count)


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_a_short_count_is_right_to_half_of_its_last_digit(count: int) -> None:
    number, unit = re.fullmatch(r"(-?[0-9,.]+)([kMBT]?)", short_count(count)).groups()  # type: ignore[union-attr]
    size = 10 ** (3 * " kMBT".index(unit or " "))
    shown = Decimal(number.replace(",", ""))
    places = len(number.partition(".")[2])
    assert abs(shown * size - count) <= Decimal(size).scaleb(-places) / 2
    assert abs(shown) < 1000 or unit == "T"


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 0, "-"),
        (0, 9, "0 %"),
        (9, 9, "100 %"),
        (945, 1000, "94.5 %"),
        (1, 1000, "0.1 %"),
        (1, 1001, "<0.1 %"),
        (999, 1000, "99.9 %"),
        (9999, 10000, ">99.9 %"),
        (10**18 - 1, 10**18, ">99.9 %"),
        (3, 2, "150.0 %"),
    ],
)
def test_a_share_is_never_rounded_to_nothing_or_to_the_whole(
    part: int, whole: int, shown: str
) -> None:
    assert shown == percent(part, whole)


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0, "0 ms"),
        (512.4, "512 ms"),
        (999.4, "999 ms"),
        (999.6, "1.0 s"),
        (4514, "4.5 s"),
        (59_949, "59.9 s"),
        (59_951, "1 min 0 s"),
        (70_000, "1 min 10 s"),
        (3_599_600, "1 h 0 min"),
        (7_500_000, "2 h 5 min"),
    ],
)
def test_how_long_it_took_never_has_sixty_seconds_or_minutes(ms: float, shown: str) -> None:
    assert shown == latency(ms)


@pytest.mark.parametrize(
    ("nanousd", "shown"),
    [
        (123_456, "$0.0001235"),
        (99_990_000_000, "$99.99"),
        (99_996_000_000, "$100"),
        (1_795_840_000_000, "$1,796"),
        (999_999_600_000_000, "$1.0M"),
    ],
)
def test_short_money_leaves_out_the_cents_from_a_hundred_dollars_on(
    nanousd: int, shown: str
) -> None:
    assert shown == short_money(nanousd)


# Tables that fit

MODEL = Column("model", least_cells=12)
CALLS = Column("calls", "right")
TOKENS = Column("tokens", "right", keep=2)
COST = Column("cost", "right", keep=3)
STATE = Column("state", keep=1)
ROWS: list[Any] = [
    ("openai/gpt-5-mini", count_cell(12_345), count_cell(2_908_118_851), "≥ $1.00", "open"),
    Row(("total", count_cell(12_345), count_cell(2_908_118_851), "≥ $1.00", "-"), is_total=True),
]
COLUMNS = (MODEL, CALLS, TOKENS, COST, STATE)


def lines(width: int | None, **more: Any) -> list[str]:
    return fitted(COLUMNS, ROWS, width=width, **more).splitlines()


def test_numbers_are_shortened_first_then_names_and_then_columns_go_by_their_rank() -> None:
    assert lines(60)[1] == "openai/gpt-5-mini  12,345  2,908,118,851  ≥ $1.00  open"
    assert lines(54)[1] == "openai/gpt-5-mini  12,345   2.91B  ≥ $1.00  open"
    assert lines(46)[1] == "openai/…-5-mini  12.3k   2.91B  ≥ $1.00  open"
    assert lines(40)[1:] == [
        "openai/g…-5-mini  12.3k   2.91B  ≥ $1.00",
        "total             12.3k   2.91B  ≥ $1.00",
        "not shown: state (--wide shows all)",
    ]


def test_a_name_keeps_its_least_cells_even_where_the_table_is_too_wide_then() -> None:
    rows = [("openai/gpt-5-mini", "1")]
    assert fitted((MODEL, CALLS), rows, width=10).splitlines()[1] == "openai…-mini      1"


def test_of_columns_of_one_rank_the_last_goes_first() -> None:
    columns = [Column(name, keep=1) for name in ("one", "two", "three")]
    drawn = fitted(columns, [("1", "2", "3")], width=10).splitlines()
    assert drawn[:2] == ["one  two", "1    2"]


def test_what_is_wide_or_not_for_a_terminal_is_shown_in_full() -> None:
    assert lines(None) == lines(20, wide=True) == lines(1000)


def test_a_bar_takes_the_room_that_is_left_and_shortens_nothing() -> None:
    columns = (MODEL, CALLS, Column("", "bar"))
    rows: list[Any] = [
        ("a", count_cell(12_345), 1.0),
        ("b", "1", 0.0001),
        ("c", "2", 0),
        ("d", "3", ""),
    ]
    assert fitted(columns, rows, width=22).splitlines() == [
        "model   calls",
        "a      12,345  ███████",
        "b           1  ▏",
        "c           2",
        "d           3",
    ]
    assert fitted(columns, rows, width=20).splitlines()[1] == "a      12,345"
    assert fitted(columns, rows).splitlines()[1] == "a      12,345"


def test_below_a_subtotal_names_are_moved_in_and_a_rule_is_drawn_above_the_total() -> None:
    rows: list[Any] = [
        ("zoe", "3"),
        Row(("opus", "3"), indent=2),
        Row(("total", "3"), is_total=True),
    ]
    drawn = fitted((MODEL, CALLS), rows, rule=True, title=str.upper).splitlines()
    assert drawn == ["MODEL   CALLS", "zoe         3", "  opus      3", "─" * 13, "total       3"]
    assert "─" not in fitted((MODEL, CALLS), rows)


@pytest.mark.parametrize(
    ("cut", "shown"), [("start", "…klmnop"), ("middle", "abc…nop"), ("end", "abcdef…")]
)
def test_a_name_is_cut_where_it_says_least(cut: Any, shown: str) -> None:
    column = Column("n", least_cells=1, cut=cut)
    assert fitted((column,), [("abcdefghijklmnop",)], width=7).splitlines() == ["n", shown]


def test_what_fits_lines_up_by_the_cells_that_a_terminal_gives_it() -> None:
    rows = [("日本語", "1"), ("a\x07", "23"), ("e\u0301", "4")]
    drawn = fitted((Column("name"), Column("n", "right")), rows).splitlines()
    assert drawn == ["name     n", "日本語   1", "a\\x07   23", "e\u0301        4"]


def test_a_name_that_is_moved_in_is_cut_to_what_is_left_and_a_title_is_never_cut() -> None:
    rows = [Row(("abcdefghijklmnop", "3"), indent=2)]
    drawn = fitted((Column("the model", least_cells=5), CALLS), rows, width=16).splitlines()
    assert drawn == ["the model  calls", "  abc…nop      3"]
    columns = (Column("the model", least_cells=5), Column("calls", "right", keep=1))
    assert fitted(columns, rows, width=12).splitlines()[:2] == ["the model", "  abcde…mnop"]


def test_a_wide_sign_is_not_cut_in_half_and_an_accent_stays_with_its_letter() -> None:
    column = Column("n", least_cells=1)
    assert fitted((column,), [("日本語日本語",)], width=6).splitlines()[1] == "日…語"
    assert fitted((column,), [("abcde\u0301fgh",)], width=6).splitlines()[1] == "abc…gh"
    assert fitted((column,), [("abcde\u0301fgh",)], width=7).splitlines()[1] == "abc…fgh"


NAMES = st.text(max_size=60) | st.from_regex(r"[a-z]{1,20}/[a-z0-9.-]{1,80}", fullmatch=True)
COUNTS = st.integers(min_value=0, max_value=10**15)
SHORT = [f"n{number}" for number in range(8)]


@given(
    st.lists(st.tuples(NAMES, st.lists(COUNTS, min_size=8, max_size=8)), min_size=1, max_size=5),
    st.integers(min_value=40, max_value=200),
    st.lists(st.integers(min_value=0, max_value=9), min_size=7, max_size=7),
)
def test_no_line_is_wider_than_the_terminal_and_no_digit_is_missing(
    rows: list[tuple[str, list[int]]], width: int, ranks: list[int]
) -> None:
    numbers = [Column(SHORT[0], "right")]
    numbers += [Column(n, "right", keep=rank) for n, rank in zip(SHORT[1:], ranks, strict=True)]
    cells = [Row((name, *map(count_cell, counts))) for name, counts in rows]
    cells.append(Row(("total", *map(count_cell, rows[0][1])), is_total=True))
    drawn = fitted((MODEL, *numbers), cells, width=width, rule=True).splitlines()
    assert all(cell_len(line) <= width for line in drawn)
    assert all(line.isprintable() for line in drawn)
    header = drawn[0].split()[1:]
    table_lines, said = drawn[1 : len(rows) + 3], " ".join(drawn[len(rows) + 3 :])
    assert table_lines[-1].startswith("total")
    assert set(table_lines[-2]) == {"─"}
    for (_, counts), line in zip(
        [*rows, rows[0]], [*table_lines[:-2], table_lines[-1]], strict=True
    ):
        shown = [counts[SHORT.index(name)] for name in header]
        wanted = [(f"{count:,}", short_count(count)) for count in shown]
        found = line.split()[-len(header) :]
        assert all(text in both for text, both in zip(found, wanted, strict=True))
    left_out = [name for name in SHORT if name not in header]
    assert said == (f"not shown: {', '.join(left_out)} (--wide shows all)" if left_out else "")
    gone = {name: rank for name, rank in zip(SHORT[1:], ranks, strict=True) if name in left_out}
    kept = [rank for name, rank in zip(SHORT[1:], ranks, strict=True) if name not in left_out]
    assert not gone or max(gone.values()) <= min(kept, default=9)


def test_all_cells_of_a_column_change_together() -> None:
    rows = [("a", Both("12,345", "12.3k")), ("b", Both("7", "7")), ("c", Both("1,000", "1.0k"))]
    drawn = fitted((Column("n"), Column("c", "right")), rows, width=8).splitlines()
    assert [line.split()[-1] for line in drawn] == ["c", "12.3k", "7", "1.0k"]


# What may have been meant


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("SONNET-4", ["sonnet-4"]),  # but for case
        ("web", ["acme/web"]),  # but for what stands before its last slash
        ("son", ["sonnet-4", "claude-sonnet-4-5", "eu.claude-sonnet-4"]),  # begins, then short ones
        ("claude-sonet-4-5", ["claude-sonnet-4-5", "eu.claude-sonnet-4"]),  # spelled much like it
        ("acme/wbe", ["acme/web"]),
        ("opsu", ["claude-opus"]),  # one of its words is
        ("a", []),  # too short to mean one of them
        ("frobnicate", []),
        ("", []),
        ("*[", []),
    ],
)
def test_what_may_be_meant_by_a_name_is_the_names_that_are_like_it(
    said: str, meant: list[str]
) -> None:
    known = ["eu.claude-sonnet-4", "claude-sonnet-4-5", "sonnet-4", "acme/web", "claude-opus"]
    assert meant == alike(said, known)


def test_at_most_three_names_are_suggested_and_each_once() -> None:
    known = [f"report-{number}" for number in range(9)] * 2
    assert ["report-0", "report-1", "report-2"] == alike("report", known)
    assert ["report-0"] == alike("report", known, most=1)


def test_a_suggestion_ends_a_sentence_and_cannot_steer_the_terminal() -> None:
    assert "; did you mean report, reprice?" == did_you_mean("reprt", ["report", "reprice", "run"])
    assert "" == did_you_mean("frobnicate", ["report"])
    assert r"; did you mean zo\x1b[31me?" == did_you_mean("zo", ["zo\x1b[31me"])
    assert "; did you mean 'zoe'?" == did_you_mean("zo", ["zoe"], shown=repr)


def test_a_word_that_is_none_of_some_is_answered_with_those_like_it_or_with_all() -> None:
    assert "there is no 'cots'; did you mean cost?" == none_of("cots", ["cost", "calls"])
    assert "there is no 'x'; expected one of cost, calls" == none_of("x", ["cost", "calls"])


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=8))
def test_any_name_may_be_asked_for_among_any(said: str, known: list[str]) -> None:
    found = alike(said, known)
    assert len(found) == len(set(found)) <= 3
    assert set(found) <= set(known)
    assert did_you_mean(said, known).isprintable()
