"""Calls made with LiteLLM as a library: without a proxy, other hooks are called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.litellm_proxy import VERSIONS, litellm_python
from tests.e2e.traffic import read_lines

pytestmark = pytest.mark.timeout(900)

# The pauses are for LiteLLM's own threads, and for a second line that should not come.
SCRIPT = """
import asyncio, glob, os, time
import litellm
from prodlensd.litellm_callback import trace_logger

litellm.callbacks = [trace_logger]
call = {
    "model": "openai/gpt-4o-mini",
    "messages": [{"role": "user", "content": "canary"}],
    "mock_response": "canary",
    "api_key": "sk-canary",
}

async def call_async():
    await litellm.acompletion(**call, metadata={"session_id": "async"})
    stream = {"stream": True, "metadata": {"session_id": "async-stream"}}
    async for _ in await litellm.acompletion(**call, **stream):
        pass
    await asyncio.sleep(1)

litellm.completion(**call, metadata={"session_id": "sync"})
for _ in litellm.completion(**call, stream=True, metadata={"session_id": "sync-stream"}):
    pass
asyncio.run(call_async())
time.sleep(1)
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_each_call_of_the_library_leaves_one_line(version: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "LITELLM_LOG_DIR": str(tmp_path),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    subprocess.run([litellm_python(version), "-c", SCRIPT], env=environment, check=True)
    sessions = [line["metadata"].get("session_id") for line in read_lines(tmp_path)]
    assert sorted(sessions) == ["async", "async-stream", "sync", "sync-stream"]
    assert b"canary" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
