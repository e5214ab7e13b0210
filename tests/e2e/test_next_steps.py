"""What `prodlensd init --proxy` tells people to type, typed into a real shell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from prodlensd import litellm as proxy

TELL = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"


def test_the_printed_lines_set_up_the_proxy_and_its_clients(tmp_path: Path) -> None:
    remote = "git@github.com:acme/web.git"
    for command in (
        ["init", "--quiet"],
        ["config", "user.email", "dev@acme.example"],
        ["remote", "add", "origin", remote],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)  # noqa: S607
    steps = proxy.next_steps(tmp_path / "a config.yaml", tmp_path / "the logs", port=4444)
    started = next(line for line in steps.splitlines() if line.startswith("  litellm --config"))
    typed = [line for line in steps.splitlines() if line.startswith(("  export", "x-prodlens"))]

    script = "\n".join([*typed, TELL])
    shell = subprocess.run(
        ["sh", "-euc", script],  # noqa: S607
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(shell.stdout)

    assert found["LITELLM_LOG_DIR"] == str(tmp_path / "the logs")
    assert found["LITELLM_MASTER_KEY"].startswith("sk-")
    assert found["ANTHROPIC_AUTH_TOKEN"] == found["LITELLM_MASTER_KEY"] == found["OPENAI_API_KEY"]
    assert found["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:4444"
    assert found["OPENAI_BASE_URL"] == "http://127.0.0.1:4444/v1"
    assert found["ANTHROPIC_CUSTOM_HEADERS"].splitlines() == [
        "x-prodlens-developer: dev@acme.example",
        f"x-prodlens-repo: {remote}",
    ]
    assert started.endswith("a config.yaml' --host 127.0.0.1 --port 4444")


def test_the_config_names_the_callback_that_was_chosen() -> None:
    assert proxy.INSTALLED_CALLBACK in proxy.litellm_config()
    copied = proxy.litellm_config(proxy.COPIED_CALLBACK)
    assert f'callbacks: ["{proxy.COPIED_CALLBACK}"]' in copied
    assert proxy.INSTALLED_CALLBACK not in copied


def test_the_source_of_the_callback_is_that_of_the_module() -> None:
    module = Path(proxy.__file__).parents[1] / "litellm_callback.py"
    assert proxy.callback_source() == module.read_text(encoding="utf-8")
