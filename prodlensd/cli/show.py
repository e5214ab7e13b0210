"""`prodlensd show`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from prodlensd.answers.show import Listed, Shown, Total
from prodlensd.app.show import CostChange, Known, known_of, show
from prodlensd.cli import as_json, completing, config_option, errors_end_it, load_config
from prodlensd.cli.prices import priced_as_dict, print_price
from prodlensd.cli.tables import NAME_CELLS, drawn, wide_option
from prodlensd.config import Config
from prodlensd.model import OperationalError
from prodlensd.moments import iso_time
from prodlensd.text import (
    Cell,
    Column,
    Row,
    at_least,
    count_cell,
    counted,
    money,
    money_cell,
    on_plan,
    printable,
)

COLUMNS: Final = (
    Column("time"),
    Column("model", least_cells=NAME_CELLS),
    Column("input", "right", keep=4),
    Column("cached", "right", keep=3),
    Column("output", "right", keep=5),
    Column("cost", "right"),
    Column("ttft", "right", keep=1),
    Column("latency", "right", keep=2),
    Column("status"),
)
_MS_PER_S: Final = 1000
#: Of the row of a call: what a line of the text says, and how it was found.
_WHO: Final = (
    ("session", "session_id", "session_via"),
    ("developer", "developer_id", "developer_via"),
    ("end user", "end_user", None),
    ("team", "team", None),
    ("key", "key_alias", None),
    ("repo", "repo_slug", None),
    ("tags", "tags", None),
)
_TOKENS: Final = (
    ("in", "tokens_in"),
    ("of them read from a cache", "cache_read_tokens"),
    ("written to a cache", "cache_write_tokens"),
    ("written for one hour", "cache_write_1h_tokens"),
    ("audio in", "audio_in_tokens"),
    ("out", "tokens_out"),
    ("of them reasoning", "reasoning_tokens"),
    ("audio out", "audio_out_tokens"),
    ("in all", "total_tokens"),
)


@click.command()
@config_option
@click.argument("name", metavar="SESSION|CALL_ID", shell_complete=completing.names_of("session"))
@wide_option
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object.")
def command(config_path: Path | None, name: str, wide: bool, as_json_: bool) -> None:
    """Show the calls of a session in order, or all that is known of one call.

    A call is shown with the file and offset its line stood at, its tokens, what is billed, its
    price with its source, and what repricings changed. Of a pruned call there is what its snapshot
    has. Several calls have one id when the proxy tried again: they are listed, and the last is
    shown. Times are UTC. A name that is both is taken for the session.

    Example: prodlensd show abc123

    Exit code: 0, 1 when there is neither, or the ledger cannot be read.
    """
    config = load_config(config_path)
    with errors_end_it():
        shown = show(config, name)
        if shown is None:
            raise OperationalError(f"{name}: no session has this name, and no call this id")
        known = _known(config, shown)
    if as_json_:
        click.echo(as_json("show", _as_dict(shown, known)))
        return
    if shown.row is None:
        _print_session(shown, wide)
    else:
        _print_call(shown, shown.row, known, wide)
    if shown.same_id:
        calls = counted(shown.same_id, "call")
        click.echo(f"the session's name is also the id of {calls}: prodlensd prices show --call")


def _known(config: Config, shown: Shown) -> Known | None:
    if (row := shown.row) is None:
        return None
    return known_of(config, shown.name, row["started_us"], row["source_id"])


# For people -------------------------------------------------------------------------------------


def _print_session(shown: Shown, wide: bool) -> None:
    first = shown.calls[0]
    who = (("developer", first.developer_id), ("repo", first.repo_slug))
    said = "".join(f", {what} {value}" for what, value in who if value is not None)
    days = {iso_time(call.started_us)[:10] for call in shown.calls}
    span = min(days) if len(days) == 1 else f"{min(days)} to {max(days)}"
    click.echo(printable(f"session {shown.name}{said}, {span} (UTC)"))
    click.echo(_list(shown, wide))


def _list(shown: Shown, wide: bool) -> str:
    days = {iso_time(call.started_us)[:10] for call in shown.calls}
    begin = len("2026-11-") + 3 if len(days) == 1 else len("2026-")
    rows = [Row(cells(call, begin)) for call in shown.calls]
    rows.append(Row(_total_cells(shown.total), is_total=True))
    table = drawn(COLUMNS, rows, wide=wide)
    total = shown.total
    if total.plan_calls:
        nanousd, unpriced = total.plan_api_nanousd or 0, total.plan_unpriced_calls
        said = on_plan(nanousd, total.plan_calls, unpriced, is_exact=not unpriced)
        table = f"{table}\n{said}"
    more = total.calls - len(shown.calls)
    return f"{table}\n{counted(more, 'more call')} not listed" if more else table


def cells(call: Listed, begin: int) -> tuple[Cell, ...]:
    """A row of COLUMNS; its time is written from the character `begin` on."""
    time = iso_time(call.started_us)[begin:19].replace("T", " ")
    model = (call.model or "(none)").rpartition("/")[2]
    says_cost = call.cost_nanousd is not None and call.cost_source != "plan"
    cost = money_cell(call.cost_nanousd or 0) if says_cost else call.cost_source
    failed = f"failed {call.status_code or ''}".rstrip()
    return (
        time,
        model,
        *map(_count, (call.tokens_in, call.cache_read_tokens, call.tokens_out)),
        cost,
        _time(call.ttft_ms),
        _time(call.latency_ms),
        "ok" if call.status == "success" else failed,
    )


def _total_cells(total: Total) -> tuple[Cell, ...]:
    cost = "-" if total.cost_nanousd is None else money(total.cost_nanousd)
    if total.unpriced_calls:
        cost = "unpriced" if total.cost_nanousd is None else at_least(cost, is_exact=False)
    failed = f"{total.failed_calls:,} failed" if total.failed_calls else ""
    counts = map(_count, (total.tokens_in, total.cache_read_tokens, total.tokens_out))
    return ("total", counted(total.calls, "call"), *counts, cost, "", "", failed)


def _count(number: int | None) -> Cell:
    return "-" if number is None else count_cell(number)


def _time(ms: float | None) -> str:
    if ms is None:
        return "-"
    return f"{ms:,.0f} ms" if ms < _MS_PER_S else f"{ms / _MS_PER_S:,.1f} s"


def _print_call(shown: Shown, row: dict[str, Any], known: Known | None, wide: bool) -> None:
    if shown.total.calls > 1:
        click.echo(f"{_list(shown, wide)}\n\nthe last of them:")
    for name, value in _facts(row):
        _line(name, value)
    path = known.path if known else None
    _line("line", f"byte {row['source_offset']:,} of {path or 'a log that is not known here'}")
    if known and known.priced:
        print_price(known.priced)
    else:
        if row["gateway_cost_nanousd"] is not None:
            _line("gateway", f"reported {money(row['gateway_cost_nanousd'])}")
        _line("price", "pruned: where it came from is no longer here")
    for change in known.changes if known else ():
        _line("changed", f"{iso_time(change.at_us)[:19]}Z: {_changed(change)}")


def _facts(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "call", str(row["call_id"])
    yield "time", f"{iso_time(row['started_us'])}, host {row['host'] or 'unknown'}"
    for name, column, via in _WHO:
        if row[column] is not None:
            how = f" (via {row[via]})" if via and row[via] else ""
            yield name, f"{row[column]}{how}"
    modifiers = "".join(
        f", {said}"
        for said in (
            row["call_type"],
            row["service_tier"],
            "a stream" if row["stream"] else None,
            "answered by the proxy's cache" if row["cache_hit"] else None,
        )
        if said
    )
    yield "model", f"{row['model'] or '(none)'}, provider {row['provider'] or 'unknown'}{modifiers}"
    status = [row["status"], row["status_code"], row["error_class"]]
    yield "status", " ".join(str(part) for part in status if part is not None)
    yield "latency", f"{_time(row['latency_ms'])}, to the first token {_time(row['ttft_ms'])}"
    tokens = [f"{row[name]:,} {what}" for what, name in _TOKENS if row[name] is not None]
    yield "tokens", ", ".join(tokens) or "none said"
    source, reason = row["cost_source"], row["unpriced_reason"]
    yield "cost", _cost(row["cost_nanousd"], source, reason)
    if row["table_cost_nanousd"] is not None:
        asks = "the API would ask" if source == "plan" else "asks"
        yield "table", f"{asks} {money(row['table_cost_nanousd'])}"
    elif source == "plan":
        yield "table", _cost(None, "unpriced", reason)
    if row["accepted"] is not None:
        yield "accepted", "yes" if row["accepted"] else "no"
    for name in ("accepted_lines", "diff_ratio", "anomalies", "bill"):
        if row[name] is not None:
            yield name.replace("_", " "), str(row[name])


def _cost(nanousd: int | None, source: str, reason: str | None = None) -> str:
    if nanousd is None:
        return f"{source}: {reason}" if reason else source
    return f"{money(nanousd)}, {source}"


def _changed(change: CostChange) -> str:
    before = _cost(change.old_nanousd, change.old_source)
    return f"{before} → {_cost(change.new_nanousd, change.new_source)}"


def _line(name: str, value: str) -> None:
    click.echo(f"{name:9}{'' if len(name) < 9 else ' '}{printable(value)}")  # noqa: PLR2004


# For programs -----------------------------------------------------------------------------------


def _as_dict(shown: Shown, known: Known | None) -> dict[str, Any]:
    return {
        "name": shown.name,
        "kind": "session" if shown.row is None else "call",
        "calls_with_this_id": shown.same_id if shown.row is None else shown.total.calls,
        "calls": [_timed(call._asdict()) for call in shown.calls],
        "more_calls": shown.total.calls - len(shown.calls),
        "total": shown.total._asdict(),
        "call": None if shown.row is None else _timed(shown.row) | _known_as_dict(known),
    }


def _timed(row: dict[str, Any]) -> dict[str, Any]:
    return {"timestamp": iso_time(row["started_us"])} | row


def _known_as_dict(known: Known | None) -> dict[str, Any]:
    if known is None:
        return {"path": None, "price": None, "changes": []}
    return {
        "path": known.path,
        "price": None if known.priced is None else priced_as_dict(known.priced),
        "changes": [{"at": iso_time(change.at_us)} | change._asdict() for change in known.changes],
    }
