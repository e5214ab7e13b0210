"""Whether a ledger holds just what was written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from prodlensd.model import digest_of
from tests.scenario.file_actions import Written


def wrong_in_ledger(
    query: Callable[[str], list[Any]],
    written: Written,
    pruned: Iterable[tuple[Any, ...]] = (),
) -> list[str]:
    """What is not as it must be once everything is ingested: nothing.

    `pruned` are the rows that are in snapshots only: session, tokens_out, call_id.
    """
    expected, garbage = what_was(written)
    rows = Counter([*query("SELECT session_id, tokens_out, call_id FROM traces"), *pruned])
    by_digest = {digest_of(line): line for line in garbage}
    dead_letters = Counter(
        by_digest.get(digest, raw) for raw, digest in query("SELECT raw, digest FROM dead_letter")
    )
    faults = {
        "missing": expected - rows,
        "doubled or invented": rows - expected,
        "dead letters missing": garbage - dead_letters,
        "dead letters doubled or torn": dead_letters - garbage,
    }
    wrong = [f"{what}: {which}" for what, which in faults.items() if which]
    counted = query("SELECT total(traces), total(dead_letters) FROM source")
    if counted != [(rows.total(), dead_letters.total())]:
        wrong.append(f"counters: {counted}, not {rows.total()}, {dead_letters.total()}")
    return wrong


def what_was(written: Written) -> tuple[Counter[tuple[Any, ...]], Counter[bytes]]:
    """The rows, as session, tokens_out and call_id, and the dead letters of what was written."""
    rows: Counter[tuple[Any, ...]] = Counter()
    garbage: Counter[bytes] = Counter()
    for line, times in written.lines.items():
        if session := written.session(line):
            number = int(session[1:])
            call_id = f"call-{number}" if b"litellm_call_id" in line else None
            rows[session, number, call_id] = times
        else:
            garbage[line] = times
    return rows, garbage
