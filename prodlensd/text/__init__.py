"""Text for people: what comes from outside made printable, numbers, and tables that fit."""

from prodlensd.text.plain import (
    counted,
    duration,
    latency,
    money,
    percent,
    printable,
    short_count,
    short_money,
    size,
)
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
    "count_cell",
    "counted",
    "duration",
    "fitted",
    "latency",
    "latency_cell",
    "money",
    "money_cell",
    "percent",
    "printable",
    "short_count",
    "short_money",
    "size",
]
