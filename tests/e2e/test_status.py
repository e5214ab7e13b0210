"""`prodlensd status` beside a real LiteLLM proxy, alive and dead."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prodlensd import litellm as proxy
from tests.e2e.fake_upstream import FakeUpstream
from tests.e2e.litellm_proxy import VERSIONS, litellm_python, running_proxy

pytestmark = pytest.mark.timeout(900)


def asked(home: Path, url: str) -> tuple[bool, dict[str, Any]]:
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(f"[proxy]\nurl = '{url}'\n")
    subprocess.run([sys.executable, "-m", "prodlensd", "run", "--once"], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "prodlensd", "status", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    content = json.loads(done.stdout)
    checks = {check["name"]: check for check in content["checks"]}
    return content["figures"]["proxy"], checks["proxy"]


def test_a_real_proxy_answers_without_a_key_and_a_dead_one_does_not(
    home: Path, tmp_path: Path, upstream: FakeUpstream, wait_until: Callable[..., Any]
) -> None:
    python, callback = litellm_python(VERSIONS[0]), proxy.INSTALLED_CALLBACK
    folder = tmp_path / "proxy"
    folder.mkdir()
    with running_proxy(
        python, folder, upstream.address, callback=callback, extras=False
    ) as running:
        url = f"http://127.0.0.1:{running.port}"
        # It may be slow to answer just after its start.
        check = wait_until(lambda: (told := asked(home, url))[0] and told[1], "an answer", 60)
        assert (check["state"], check["remedy"]) == ("ok", "")
        assert check["value"] == "answers, no line has ever come"
        assert asked(home, f"{url}/no/such/path")[0] is False
    healthy, check = asked(home, url)
    assert (healthy, check["state"]) == (False, "warning")
    assert check["value"].startswith("refuses the connection, ")
