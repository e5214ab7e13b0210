"""SIGKILL at any SQL statement of an import: each call counts once after all, and no gap opens."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.scenario.file_actions import MODEL
from tests.scenario.test_witnesses import payload, row

CALLS = 40
#: Lines without ids, which only their place in the file tells from each other.
BARE = b"".join(
    json.dumps(
        {
            "timestamp": f"2026-11-01T11:00:0{n % 3}Z",
            "usage": {"input_tokens": 1, "output_tokens": 1},
            "attributes": {"llm.model_name": MODEL},
        }
    ).encode()
    + b"\n"
    for n in range(6)
)


def rows(first: int, end: int) -> list[Any]:
    return [json.loads(row(number, model=MODEL)) for number in range(first, end)]


def files(folder: Path) -> list[Path]:
    """Lines of both kinds, a document that overlaps them, and garbage in each."""
    made = {
        "lines.jsonl": b"".join(row(n, model=MODEL) for n in range(20)) + b"garbage\n" + BARE,
        "rows.json": json.dumps([*rows(10, CALLS), {"a": 1}], indent=1).encode(),
        "payloads.jsonl": b"".join(payload(n, model=MODEL) for n in range(5, 30)),
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in made]


def there(ledger: Path) -> tuple[Any, ...]:
    db = apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return tuple(
            db.execute(sql).get
            for sql in (
                "SELECT count(*) FROM traces",
                "SELECT count(DISTINCT call_id) FROM traces WHERE call_id LIKE 'call-%'",
                "SELECT count(*) FROM dead_letters",
                "SELECT count(*) FROM gaps",
                "SELECT count(*) FROM sources WHERE state = 'live' AND path NOT LIKE '%/logs/%'",
            )
        )
    finally:
        db.close()


def killed_at(driver: Any, nth: int, then: Callable[[Any, list[str]], int]) -> int:
    """The exit code of an import that dies at its n-th statement; and all is well afterwards."""
    home = driver.home()
    paths = [str(path) for path in files(home.folder)]
    (home.logs / "a.jsonl").write_bytes(b"".join(payload(n, model=MODEL) for n in range(15)))
    code: int = driver.run(home=str(home.folder), seam="sql", nth=nth, imported=paths)
    assert then(home, paths) == 0, home.said()
    assert driver.run(home=str(home.folder), imported=paths) == 0, home.said()
    assert home.run() == 0, home.said()
    assert (CALLS + 6, CALLS, 2, 0, 0) == there(home.ledger), nth
    return code


def daemon_first(home: Any, _paths: list[str]) -> int:
    code: int = home.run()
    return code


def import_again(_home: Any, _paths: list[str]) -> int:
    return 0


@pytest.mark.long
@pytest.mark.parametrize("then", [daemon_first, import_again])
def test_a_kill_at_an_sql_statement_of_an_import_doubles_nothing_and_opens_no_gap(
    driver: Any, then: Callable[[Any, list[str]], int]
) -> None:
    died = 0
    for nth in range(random.randrange(1, 25), 2000, 25):  # noqa: S311 - the soak takes them all
        code = killed_at(driver, nth, then)
        died += code == -signal.SIGKILL
        if code == 0:
            break
    assert died > 3


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_kill_at_every_sql_statement_of_an_import_doubles_nothing(driver: Any) -> None:
    for nth in range(1, 5000):
        if killed_at(driver, nth, random.choice([daemon_first, import_again])) == 0:  # noqa: S311
            return
    raise AssertionError("an import of three small files has thousands of statements")
