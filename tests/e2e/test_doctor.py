"""`prodlensd doctor` beside a real LiteLLM proxy: its version, and the test call as it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prodlensd import litellm as proxy
from tests.e2e.fake_upstream import FakeUpstream
from tests.e2e.litellm_proxy import MASTER_KEY, VERSIONS, litellm_python, running_proxy

pytestmark = pytest.mark.timeout(900)


def prodlensd(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "prodlensd", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr or done.stderr.startswith("{"), done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("1.110.2", "its version is for those with its key only"),
        ("1.80.0", "its version is 1.80.0"),
    ],
)
def test_the_doctor_asks_the_version_and_the_test_call_comes_to_the_ledger(
    version: str,
    said: str,
    home: Path,
    tmp_path: Path,
    upstream: FakeUpstream,
    wait_until: Callable[..., Any],
) -> None:
    assert version in VERSIONS
    folder = tmp_path / "proxy"
    folder.mkdir()
    home.mkdir()
    with running_proxy(
        litellm_python(version),
        folder,
        upstream.address,
        callback=proxy.COPIED_CALLBACK,
        extras=False,
    ) as running:
        (home / "config.toml").write_text(
            f"[proxy]\nurl = 'http://127.0.0.1:{running.port}'\n"
            f"[logs]\ndirectories = ['{running.log_folder}']\n"
        )

        def proxy_value() -> tuple[str, Any]:
            found = json.loads(prodlensd("doctor", "--json"))
            [value] = [check["value"] for check in found["checks"] if check["name"] == "proxy"]
            return value, found["test_call"]

        # It may be slow to answer just after its start.
        call = wait_until(lambda: (told := proxy_value())[0].endswith(said) and told[1], said, 60)
        subprocess.run(
            ["/bin/sh", "-c", call["command"]],
            env=os.environ | {"LITELLM_MASTER_KEY": MASTER_KEY},
            check=True,
        )
        wait_until(lambda: any(running.log_folder.glob("*.jsonl")), "the line")
    assert "1 call from 1 file" in prodlensd("run", "--once")
    assert "claude-haiku-4-5" in prodlensd(*call["then"].split()[1:])
