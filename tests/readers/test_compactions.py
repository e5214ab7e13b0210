"""Readers that never pause, while snapshots are replaced: each sees a day as it was at a time.

Not all of them can be spared an error: DuckDB, Polars and Spark open a file more than once, and say
that it is broken where it was replaced in between. That is forgiven then, and only then.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tests.readers.reading import READERS, Groups, Reader, Sums

_ROUNDS: Final = 6
_OLD: Final = "2026-01-01"
#: So many that writing a snapshot takes a while.
_CALLS: Final = 5_000
#: Between two reads, so that the writer gets a word in.
_BREATH_S: Final = 0.02
_READ_WITHIN_S: Final = 60
#: Readers that open each file once, so that nothing can change under them.
_NEVER_FAIL: Final = ("pandas", "pyarrow")


class Story:
    """Rounds of logging calls and compacting; and what each day may hold just now."""

    def __init__(self, machine: Any) -> None:
        self.snapshots: Path = machine.home / "parquet"
        self._machine = machine
        #: How many calls of each day were logged, after each round.
        self._logged: list[dict[str, int]] = [{}]
        self.compacted = 0
        self.is_over = threading.Event()

    def round(self, calls: dict[str, int]) -> None:
        logged = self._logged[-1] | {
            day: self._logged[-1].get(day, 0) + count for day, count in calls.items()
        }
        self._logged.append(logged)
        for day, count in calls.items():
            numbers = range(logged[day] - count + 1, logged[day] + 1)
            with (self._machine.logs / f"{day}.jsonl").open("a") as log:
                log.writelines(_line(day, number) for number in numbers)
        done = self._machine.command("run", "--once")
        assert done.returncode == 0, done.stderr
        self.compacted += 1

    def may_hold(self, day: str, since: int) -> set[int]:
        """How many calls of a day a reader may see that began after so many compactions."""
        return {logged.get(day, 0) for logged in self._logged[since:]}

    def inodes(self) -> dict[Path, int]:
        return {path: path.stat().st_ino for path in self.snapshots.glob("*/*.parquet")}


class Watcher:
    """Reads all days again and again."""

    def __init__(self, name: str, sums: Callable[[Path, str], Groups], story: Story) -> None:
        self._name = name
        self._sums = sums
        self._story = story
        self._last: dict[str, int] = {}
        #: The number of compactions that were over when the last good read began.
        self.seen = 0

    def watch(self) -> None:
        from polars.exceptions import PanicException

        while not self._story.is_over.wait(_BREATH_S):
            since, there = self._story.compacted, self._story.inodes()
            try:
                days = self._sums(self._story.snapshots, "event_date")
            except (Exception, PanicException):
                now = self._story.inodes()
                # It read the footer of one file, and went on in the next one of the same name.
                was_replaced = any(inode != now.get(path) for path, inode in there.items())
                if self._name in _NEVER_FAIL or not was_replaced:
                    raise
                continue
            for day in self._last.keys() | days.keys():
                self._check(day, since, days.get(day))
            self.seen = since

    def _check(self, day: str, since: int, sums: Sums | None) -> None:
        calls, tokens = (sums.calls, sums.tokens_out) if sums else (0, 0)
        assert calls in self._story.may_hold(day, since), day
        assert self._last.get(day, 0) <= calls, day
        # The tokens of a call are its number in the day: each of them is there, and once.
        assert calls * (calls + 1) // 2 == tokens, day
        self._last[day] = calls


def _line(day: str, number: int) -> str:
    record = {
        "timestamp": f"{day}T00:00:00.{number:06d}Z",
        "usage": {"input_tokens": 1, "output_tokens": number},
        "metadata": {"session_id": f"s{number}"},
    }
    return json.dumps(record) + "\n"


def play(machine: Any, readers: dict[str, Reader], wait_until: Callable[..., Any]) -> None:
    """Compacts an old day, today and a new one, round by round, with all these readers watching."""
    today = datetime.now(UTC).date()
    story = Story(machine)
    story.round({_OLD: _CALLS, str(today): _CALLS})
    watchers = [Watcher(name, reader.sums, story) for name, reader in readers.items()]
    with ThreadPoolExecutor() as threads:
        watching = [threads.submit(watcher.watch) for watcher in watchers]

        def all_have_seen_it() -> bool:
            ended = any(watch.done() for watch in watching)
            return ended or all(watcher.seen == story.compacted for watcher in watchers)

        try:
            for number in range(1, _ROUNDS + 1):
                wait_until(all_have_seen_it, "a read by each reader", _READ_WITHIN_S)
                story.round({_OLD: 10, str(today): 10, str(today - timedelta(days=number)): 1})
            wait_until(all_have_seen_it, "a last read by each reader", _READ_WITHIN_S)
        finally:
            story.is_over.set()
        for watch in watching:
            watch.result()


def test_readers_see_each_day_whole_while_it_is_written_again(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    play(machine, READERS, wait_until)


def test_spark_sees_each_day_whole_while_it_is_written_again(
    machine: Any, spark: Any, wait_until: Callable[..., Any]
) -> None:
    play(machine, {"Spark": Reader(spark.sums, spark.types)}, wait_until)
