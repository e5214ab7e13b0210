"""Text for people: printable whatever it came from; numbers, tables that fit, suggestions."""

from prodlensd.text.plain import (
    at_least,
    counted,
    duration,
    latency,
    money,
    percent,
    printable,
    short_count,
    short_money,
    size,
    some,
)
from prodlensd.text.suggestions import alike, did_you_mean, none_of
from prodlensd.text.tables import (
    Both,
    Cell,
    Column,
    Row,
    count_cell,
    fitted,
    latency_cell,
    money_cell,
)

__all__ = [
    "Both",
    "Cell",
    "Column",
    "Row",
    "alike",
    "at_least",
    "count_cell",
    "counted",
    "did_you_mean",
    "duration",
    "fitted",
    "latency",
    "latency_cell",
    "money",
    "money_cell",
    "none_of",
    "percent",
    "printable",
    "short_count",
    "short_money",
    "size",
    "some",
]
