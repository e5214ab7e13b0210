"""A provider's bill: what each day (UTC) costs, by the export of its cost report or a plain CSV.

Known are the pages of Anthropic's `/v1/organizations/cost_report` and of OpenAI's
`/v1/organization/costs`, one or many in a file; the CSVs of both consoles; and a CSV of days and
dollars. A row that cannot be read is named, and the others count.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

from msgspec import Struct

from prodlensd.model import NANOUSD_PER_USD
from prodlensd.text import printable

_CENTS_PER_USD: Final = 100
_MOST_USD: Final = 10**9
_SHOWN_CHARS: Final = 60


class Refused(NamedTuple):
    """A row that cannot be read: where it stands, and why."""

    place: str
    why: str


class Bill(Struct):
    """What each day costs in nano-dollars. `provider` sends it; None: that is not said.

    `is_cut`: the report goes on, on a page that is not in the file.
    """

    provider: str | None
    days: dict[date, int] = {}
    refused: list[Refused] = []
    is_cut: bool = False

    def add(self, place: str, when: object, read: Callable[[Any], Decimal], cost: object) -> None:
        """Adds a cost, read by `read`, to its day; or refuses it, with the reason."""
        try:
            day, usd = _day(when), read(cost)
        except (ValueError, OverflowError, OSError) as error:
            self.refused.append(Refused(place, str(error)))
            return
        nanousd = (usd * NANOUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN)
        self.days[day] = self.days.get(day, 0) + int(nanousd)


class _Csv(NamedTuple):
    """A CSV: who makes it, and its columns of the day, of the cost and of its currency."""

    provider: str | None
    day: str
    usd: str
    currency: str = ""


_CSVS: Final = (
    _Csv("anthropic", "usage_date_utc", "cost_usd"),
    _Csv("openai", "start_time_iso", "amount_value", "amount_currency"),
    _Csv("openai", "start_time", "amount_value", "amount_currency"),
    _Csv(None, "day", "usd"),
    _Csv(None, "date", "usd"),
)
_KNOWN: Final = (
    "expected a page of Anthropic's cost_report or OpenAI's organization/costs, a CSV of one of "
    "their consoles, or a CSV with the columns day and usd"
)


def read_bill(text: str) -> Bill:
    """The bill in this text. Raises ValueError where it is none."""
    text = text.removeprefix("\ufeff").lstrip()
    bill = _of_pages(text) if text[:1] in ("{", "[") else _of_csv(text)
    if bill is None:
        raise ValueError(_KNOWN)
    return bill


# Pages of JSON


def _of_pages(text: str) -> Bill | None:
    pages = list(_pages(text))
    buckets = [bucket for page in pages for bucket in _list(page, "data")]
    first = next((bucket for bucket in buckets if isinstance(bucket, dict)), None)
    if first is None or not {"starting_at", "start_time"} & first.keys():
        return None
    bill = Bill("anthropic" if "starting_at" in first else "openai")
    last = pages[-1]
    bill.is_cut = isinstance(last, dict) and last.get("has_more") is True
    seen = set()
    for number, bucket in enumerate(buckets):
        held = bucket if isinstance(bucket, dict) else {}
        start = str(held.get("starting_at", held.get("start_time")))
        if start in seen:
            bill.refused.append(Refused(f"bucket {number + 1}", "its day was there already"))
            continue
        seen.add(start)
        for index, result in enumerate(_list(bucket, "results")):
            place = f"bucket {number + 1}, result {index + 1}"
            bill.add(place, start, _amount, result)
    return bill


def _pages(text: str) -> Iterator[Any]:
    """The pages: one object, an array of them, or one after the other."""
    decoder, at = json.JSONDecoder(parse_float=Decimal), 0
    while at < len(text):
        try:
            found, at = decoder.raw_decode(text, at)
        except RecursionError:
            raise ValueError("JSON nested too deeply") from None
        yield from found if isinstance(found, list) else [found]
        at += len(text[at:]) - len(text[at:].lstrip())


def _list(holder: Any, name: str) -> list[Any]:  # noqa: ANN401 - whatever JSON holds
    found = holder.get(name) if isinstance(holder, dict) else None
    return found if isinstance(found, list) else []


def _amount(result: Any) -> Decimal:  # noqa: ANN401 - whatever JSON holds
    """The dollars of a result: Anthropic's are a text of cents, OpenAI's an object."""
    amount = result.get("amount") if isinstance(result, dict) else None
    if isinstance(amount, dict):
        _check_currency(amount.get("currency"))
        return _usd(amount.get("value"))
    _check_currency(result.get("currency", "USD") if isinstance(result, dict) else None)
    return _usd(amount) / _CENTS_PER_USD


# CSV


def _of_csv(text: str) -> Bill | None:
    lines = text.splitlines()
    for delimiter in (",", ";", "\t"):
        rows = csv.DictReader(lines, delimiter=delimiter)
        named = {name.strip().lower(): name for name in rows.fieldnames or ()}
        for known in _CSVS:
            if {known.day, known.usd} <= named.keys():
                bill = Bill(known.provider)
                for row in rows:
                    values = {key: row[name] for key, name in named.items()}
                    of_row = values[known.usd], values.get(known.currency, "USD")
                    bill.add(f"line {rows.line_num}", values[known.day], _cell, of_row)
                return bill
    return None


def _cell(of_row: tuple[str | None, str | None]) -> Decimal:
    usd, currency = of_row
    _check_currency(currency)
    return _usd(usd)


# Values


def _day(value: Any) -> date:  # noqa: ANN401 - whatever was read
    """The day (UTC) of a date, a moment, or seconds since 1970. Raises ValueError."""
    if isinstance(value, int) or (isinstance(value, str) and value.strip().isdecimal()):
        return datetime.fromtimestamp(int(value), UTC).date()
    try:
        moment = datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise ValueError(f"no day: {_shown(value)}") from None
    return moment.astimezone(UTC).date() if moment.tzinfo else moment.date()


def _usd(value: Any) -> Decimal:  # noqa: ANN401 - whatever was read
    try:
        usd = Decimal(str(value).strip().removeprefix("$"))
    except InvalidOperation:
        raise ValueError(f"no amount: {_shown(value)}") from None
    if isinstance(value, bool) or not usd.is_finite() or abs(usd) > _MOST_USD:
        raise ValueError(f"no amount: {_shown(value)}")
    return usd


def _check_currency(currency: Any) -> None:  # noqa: ANN401 - whatever was read
    if str(currency).strip().upper() != "USD":
        raise ValueError(f"not in US dollars: {_shown(currency)}")


def _shown(value: Any) -> str:  # noqa: ANN401 - whatever was read
    return printable(f"{value!s:.{_SHOWN_CHARS}}") or "nothing"
