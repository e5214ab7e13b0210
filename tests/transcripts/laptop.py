"""A laptop with coding agents on it, and the real program that reads what they wrote."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.ledgers import query
from tests.security.hostile import House
from tests.transcripts.calls import DAY_US, Call, Usage, grouped
from tests.transcripts.corpus import Corpus

#: Where each agent keeps its transcripts, in the user's home folder.
PLACES: Final = {"claude_code": ".claude/projects", "codex": ".codex"}
#: Columns of `traces` in the order of Usage.
_COUNTED: Final = (
    "tokens_in, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, tokens_out, "
    "reasoning_tokens"
)
_CONFIG: Final = "[transcripts]\nclaude_code = true\ncodex = true\n"


class Counters(NamedTuple):
    """What became of the records of all sources."""

    records: int
    traces: int
    duplicates: int
    dead_letters: int
    passed_over: int


class Laptop(House):
    """Its user's home folder, with the agents' folders, and the program's own beside it."""

    def __init__(self, folder: Path, config: str = _CONFIG) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder / "prodlensd")
        self.user = folder / "dev"
        for place in (*PLACES.values(), ".codex/sessions"):
            (self.user / place).mkdir(parents=True, exist_ok=True)
        self.config.write_text(config)
        for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME"):
            self.environment.pop(name, None)
        self.environment["HOME"] = str(self.user)

    def place(self, agent: str) -> Path:
        return self.user / PLACES[agent]

    def take(self, corpus: Corpus, order: Iterable[int] | None = None) -> list[Path]:
        """Writes the files; in `order`, as if the agent had written them one after the other."""
        paths = corpus.write(self.place(corpus.agent))
        for moment, number in enumerate(order or ()):
            os.utime(paths[number], (1_700_000_000 + moment, 1_700_000_000 + moment))
        return paths

    def verify(self) -> None:
        done = self.command("verify")
        assert done.returncode == 0, done.stdout + done.stderr

    def query(self, sql: str) -> list[Any]:
        """Rows; single columns without their tuple."""
        return query(self.ledger, sql)

    def counters(self) -> Counters:
        names = ", ".join(f"total({name})" for name in Counters._fields)
        return Counters._make(map(int, self.query(f"SELECT {names} FROM sources")[0]))

    def grouped(self, by: str) -> dict[Any, tuple[int, ...]]:
        """Calls and each count of tokens, as `calls.grouped` adds up the true ones."""
        key = {"session_id": "session_id", "model": "model", "day": f"started_us / {DAY_US}"}[by]
        sums: dict[Any, Counter[str]] = {}
        for value, *counts in self.query(f"SELECT {key}, {_COUNTED} FROM traces"):
            group = sums.setdefault(value, Counter())
            group.update(calls=1)
            group.update(dict(zip(Usage._fields, (count or 0 for count in counts), strict=True)))
        return {value: _of(group) for value, group in sums.items()}

    def rows(self) -> list[tuple[Any, ...]]:
        """What does not depend on which file was read first, of every call."""
        columns = (
            "timestamp, session_id, developer_id, repo_slug, model, provider, cost_usd, "
            "cost_source, table_cost_usd, status, anomalies, bill, call_id"
        )
        return sorted(self.query(f"SELECT {columns}, {_COUNTED} FROM traces"), key=repr)

    def wrong(self, calls: Iterable[Call]) -> dict[str, Any]:
        """What differs from the true calls, by session, model and day: nothing."""
        listed = [*calls]
        found: dict[str, Any] = {}
        for by in ("session_id", "model", "day"):
            true, counted = grouped(listed, by), self.grouped(by)
            if true != counted:
                found[by] = {
                    key: (true.get(key), counted.get(key))
                    for key in {*true, *counted}
                    if true.get(key) != counted.get(key)
                }
        return found

    def assert_calls(self, corpus: Corpus) -> None:
        """The true calls, however often their lines were read."""
        assert self.wrong(corpus.calls) == {}
        counted = self.counters()
        assert (counted.traces, counted.dead_letters) == (len(corpus.calls), corpus.refused)
        assert counted.records == sum(counted[1:])
        self.verify()

    def assert_right(self, corpus: Corpus) -> None:
        """The true calls, and what became of each line, where all files were read once."""
        self.assert_calls(corpus)
        counted = self.counters()
        assert counted.duplicates == corpus.duplicates
        lines = sum(content.count(b"\n") for content in corpus.files.values())
        assert counted.records == lines


def _of(group: Counter[str]) -> tuple[int, ...]:
    return (group["calls"], *(group[name] for name in Usage._fields))
