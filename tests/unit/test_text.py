"""What a person sees of numbers, and of texts from outside."""

from __future__ import annotations

import pytest

from prodlensd.text import counted, duration, money, printable, size, table


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
    assert "name    n\n日本    1\na\\x07  23" == table(("name", "n"), rows, right=("n",))


def test_a_cell_too_wide_is_cut_and_says_so() -> None:
    assert "name\nabcd…" == table(("name",), [("abcdefgh",)], right=(), max_width=5)


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
