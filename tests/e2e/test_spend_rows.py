"""The rows of the spend logs that three versions of LiteLLM make, read beside their payloads.

LiteLLM's own code makes them (see spend_rows.py). Its database engine is not run here: what
PostgreSQL exports of such rows is tested in tests/unit.
"""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from prodlensd import formats
from tests.venvs import venv_python

HERE = Path(__file__).parent
DATA = HERE.parent / "data"
SAME = ("tokens_in", "tokens_out", "cache_read_tokens", "status", "gateway_nanousd", "end_user")


@pytest.mark.parametrize(
    ("version", "corpus"),
    [("1.80.0", "corpus_1_80_0"), ("1.106.2", "corpus"), ("1.110.2", "corpus")],
)
def test_the_rows_that_litellm_makes_say_what_its_payloads_say(version: str, corpus: str) -> None:
    python = venv_python(HERE / f"litellm-{version}.txt")
    payloads = gzip.decompress((DATA / f"{corpus}.jsonl.gz").read_bytes())
    made = subprocess.run(
        [python, HERE / "spend_rows.py"],
        input=payloads,
        capture_output=True,
        check=True,
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        timeout=120,
    )
    rows, lines = made.stdout.splitlines(), payloads.splitlines()
    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        read: Any = formats.parse(row)
        payload: Any = formats.parse(line)
        assert [getattr(payload, name) for name in SAME] == [getattr(read, name) for name in SAME]
        has_call_id = "litellm_call_id" in json.loads(row)
        assert has_call_id is (version != "1.80.0")
