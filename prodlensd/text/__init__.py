"""Text for people: printable whatever it came from; numbers, tables that fit, suggestions."""

from typing import TYPE_CHECKING

from prodlensd.faces import late

if TYPE_CHECKING:
    from prodlensd.text.plain import (
        at_least,
        counted,
        duration,
        latency,
        money,
        on_plan,
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
else:
    __getattr__ = late(
        __name__,
        plain=(
            "at_least counted duration latency money on_plan percent printable short_count "
            "short_money size some"
        ),
        suggestions="alike did_you_mean none_of",
        tables="Both Cell Column Row count_cell fitted latency_cell money_cell",
    )
