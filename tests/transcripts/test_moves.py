"""What happens to transcripts on their way adds no call and loses none."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from random import Random

import apsw
import pytest

from tests.transcripts.calls import Totals, totals
from tests.transcripts.corpus import Corpus, Maker
from tests.transcripts.habits import AGENTS, CORPORA, everything, shared
from tests.transcripts.laptop import Laptop


@pytest.fixture(params=AGENTS)
def corpus(request: pytest.FixtureRequest) -> Corpus:
    return shared(request.param)


def files(laptop: Laptop, corpus: Corpus) -> list[Path]:
    return [laptop.place(corpus.agent) / name for name in corpus.files]


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize("agent", AGENTS)
def test_files_that_grow_at_any_byte_are_read_as_one(laptop: Laptop, agent: str, seed: int) -> None:
    corpus, random = everything(agent), Random(seed)  # noqa: S311 - a test is no secret
    written = dict.fromkeys(corpus.files, 0)
    for step in range(4):
        for name, content in corpus.files.items():
            until = len(content) if step == 3 else random.randrange(written[name], len(content))
            path = laptop.place(agent) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(content[written[name] : until])
            written[name] = until
        laptop.ingest()
    laptop.assert_right(corpus)


def test_a_second_pass_finds_nothing_to_do(laptop: Laptop, corpus: Corpus) -> None:
    laptop.take(corpus)
    laptop.ingest()
    before = laptop.rows()
    laptop.ingest()
    laptop.assert_right(corpus)
    assert laptop.rows() == before


def test_renamed_files_add_nothing(laptop: Laptop, corpus: Corpus) -> None:
    laptop.take(corpus)
    laptop.ingest()
    for path in files(laptop, corpus):
        path.rename(path.with_name(f"{path.stem}-renamed.jsonl"))
    laptop.ingest()
    laptop.assert_right(corpus)


def test_copies_of_files_add_nothing(laptop: Laptop, corpus: Corpus) -> None:
    """As from another machine, or of a project that was moved: in other folders, and older."""
    laptop.take(corpus)
    laptop.ingest()
    for path in files(laptop, corpus):
        folder = path.parent.with_name(f"{path.parent.name}-elsewhere")
        folder.mkdir(exist_ok=True)
        os.utime(shutil.copy(path, folder / path.name), (1_700_000_000, 1_700_000_000))
    laptop.ingest()
    laptop.assert_calls(corpus)


def test_archived_threads_add_nothing(laptop: Laptop) -> None:
    corpus = CORPORA["codex_forks"](Maker(3))
    laptop.take(corpus)
    laptop.ingest()
    archive = laptop.user / ".codex/archived_sessions"
    archive.mkdir()
    first, *others = files(laptop, corpus)
    first.rename(archive / first.name)
    shutil.copy(others[0], archive / others[0].name)
    laptop.ingest()
    laptop.assert_calls(corpus)


@pytest.mark.parametrize("between", [False, True])
def test_calls_outlive_their_deleted_files(laptop: Laptop, corpus: Corpus, between: bool) -> None:
    """Also where one copy is deleted before the other is read."""
    if between:
        for name in corpus.files:
            [path] = laptop.take(corpus._replace(files={name: corpus.files[name]}))
            laptop.ingest()
            path.unlink()
    else:
        laptop.take(corpus)
        laptop.ingest()
    shutil.rmtree(laptop.place(corpus.agent))
    laptop.place(corpus.agent).mkdir()
    laptop.ingest()
    laptop.assert_calls(corpus)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_file_that_the_agent_writes_anew_adds_only_what_is_new(
    laptop: Laptop, corpus: Corpus, in_place: bool
) -> None:
    """First half of it, then all again in another order of its bytes: a new file, or the old."""
    whole = corpus.files
    halves = {name: _first_half(content) for name, content in whole.items()}
    laptop.take(corpus._replace(files=halves))
    laptop.ingest()
    for path, content in zip(files(laptop, corpus), whole.values(), strict=True):
        noted = b'{"type":"summary","summary":"rewritten","leafUuid":"0"}\n'
        if not in_place:
            path.unlink()
        path.write_bytes(_with_second(content, noted))
    laptop.ingest()
    laptop.assert_calls(corpus)


def _first_half(content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join(lines[: len(lines) // 2])


def _with_second(content: bytes, line: bytes) -> bytes:
    first, rest = content.split(b"\n", 1)
    return first + b"\n" + line + rest


def test_a_backup_that_is_compressed_is_imported(laptop: Laptop, corpus: Corpus) -> None:
    backup = laptop.user / "backup"
    packed = {f"{name}.gz": gzip.compress(content) for name, content in corpus.files.items()}
    corpus._replace(files=packed).write(backup)
    for _ in range(2):
        done = laptop.command("import", str(backup))
        assert done.returncode == 0, done.stderr
    assert laptop.wrong(corpus.calls) == {}


def test_a_ledger_from_a_backup_catches_up(laptop: Laptop, corpus: Corpus) -> None:
    halves = {name: _first_half(content) for name, content in corpus.files.items()}
    laptop.take(corpus._replace(files=halves))
    laptop.ingest()
    backup = laptop.ledger.with_suffix(".backup")
    shutil.copy(laptop.ledger, backup)
    laptop.take(corpus)
    laptop.ingest()
    rows = laptop.rows()
    for path in laptop.home.glob("prodlens.db*"):
        path.unlink()
    backup.rename(laptop.ledger)
    laptop.ingest()
    laptop.assert_calls(corpus)
    assert laptop.rows() == rows


def test_a_ledger_that_is_lost_is_made_again(laptop: Laptop, corpus: Corpus) -> None:
    laptop.take(corpus)
    laptop.ingest()
    rows = laptop.rows()
    for path in laptop.home.glob("prodlens.db*"):
        path.unlink()
    laptop.ingest()
    laptop.assert_right(corpus)
    assert laptop.rows() == rows


@pytest.mark.long
def test_calls_that_were_pruned_do_not_come_back(laptop: Laptop, corpus: Corpus) -> None:
    laptop.config.write_text(laptop.config.read_text() + "[retention]\nstore_days = 1\n")
    laptop.take(corpus)
    laptop.ingest()
    assert told(laptop) == totals(corpus.calls)
    for path in files(laptop, corpus):
        folder = path.parent.with_name(f"{path.parent.name}-elsewhere")
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder / path.name)
    laptop.ingest()
    laptop.ingest()
    assert laptop.query("SELECT count(*) FROM traces") == [0]
    assert laptop.query("SELECT count(*) FROM pruned") == [len(corpus.calls)]
    assert told(laptop) == totals(corpus.calls)


def told(laptop: Laptop) -> Totals:
    """What reports add up, over ledger and snapshots."""
    sql = "SELECT count(*) AS n, sum(tokens_in) AS i, sum(tokens_out) AS o FROM calls"
    done = laptop.command("sql", sql, "--format", "json")
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)["rows"]
    return Totals(row["n"], row["i"], row["o"])


def test_verify_names_a_call_that_is_missing(laptop: Laptop, corpus: Corpus) -> None:
    laptop.take(corpus)
    laptop.ingest()
    db = apsw.Connection(str(laptop.ledger))
    smallest = "SELECT started_us, key FROM trace ORDER BY tokens_out LIMIT 1"
    [(started_us, key)] = db.execute(smallest)
    with db:
        db.execute("DELETE FROM call WHERE (started_us, key) = (?, ?)", (started_us, key))
        db.execute("DELETE FROM transcript_call WHERE transcript_key = ?", (key,))
    db.close()
    done = laptop.command("verify")
    assert done.returncode == 1
    assert f"expected trace {key} of " in done.stdout.decode()
