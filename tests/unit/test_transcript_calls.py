"""A call of a transcript is tied to the proxy's, whoever reads the log and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodlensd.ledger import Ledger
from prodlensd.model import LOG, Chunk, Sighting
from prodlensd.pipeline import build
from prodlensd.pricing import Pricer
from tests.transcripts.calls import Call
from tests.transcripts.claude_code import Session
from tests.transcripts.corpus import BEGIN_US, MINUTE_US, Maker
from tests.transcripts.proxied import proxied


def of_log(call: Call) -> list[bytes]:
    return [proxied(call).rstrip()]


def of_transcript(make: Maker, call: Call) -> list[bytes]:
    session = Session(make.random, make.texts, call.session_id, cwd="/w")
    session.answer(call)
    return session.content.splitlines()


def read(ledger: Ledger, format_: str, lines: list[bytes]) -> None:
    """Commits the lines as those of a new file."""
    number = ledger.value("SELECT count(*) FROM source")
    sighting = Sighting(f"/{number}", 1, number, 0, 0, 0, format_)
    (start,) = ledger.sources.register([sighting], BEGIN_US)
    end = sum(len(line) + 1 for line in lines)
    ledger.commit(build(Chunk(start, lines, end, end, 1, b"proof"), Pricer()), BEGIN_US)


@pytest.mark.parametrize("is_same_program", [True, False])
def test_a_log_is_noticed_that_is_read_after_the_first_transcripts(
    tmp_path: Path, is_same_program: bool
) -> None:
    make = Maker(1)
    first, both = (make.claude_call("s", BEGIN_US + n * MINUTE_US) for n in (0, 9))
    with Ledger(tmp_path / "ledger.db") as ledger, Ledger(tmp_path / "ledger.db") as other:
        read(ledger, "claude_code", of_transcript(make, first))
        read(ledger if is_same_program else other, LOG, of_log(both))
        read(ledger, "claude_code", of_transcript(make, both))
        keys = sorted(key for (key,) in ledger.all("SELECT key FROM trace"))
    assert keys == [f" claude_code {first.id}", f"call-{both.id} {both.id}"]
