"""A real LiteLLM proxy, started as a user would start it, from the config prodlensd writes."""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Final

from prodlensd import litellm as proxy
from tests.venvs import venv_python

VERSIONS: Final = ("1.110.2", "1.106.2", "1.80.0")  # the newest these tests know first
MASTER_KEY: Final = "sk-canary-master-0123456789abcdef0123456789abcdef"
PROVIDER_KEY: Final = "sk-canary-provider-0123456789abcdef"
START_WITHIN_S: Final = 300.0

#: Settings that some calls need and no user has to have, beside those of the config.
EXTRA_MODELS: Final = """
  - {model_name: flaky, litellm_params: {<<: *openai, model: openai/gpt-4o}}
  - {model_name: spare, litellm_params: {<<: *openai, model: openai/gpt-4o-mini}}
"""
EXTRA_SETTINGS: Final = """
  cache: true
  cache_params: {type: local, mode: default_off}
  fallbacks: [{flaky: [spare]}]
  num_retries: 0
"""


@dataclass(frozen=True)
class Proxy:
    port: int
    log_folder: Path


def litellm_python(version: str) -> Path:
    """The Python of an environment with exactly this version."""
    return venv_python(Path(__file__).with_name(f"litellm-{version}.txt"))


@contextmanager
def running_proxy(
    python: Path, folder: Path, upstream: str, *, callback: str, extras: bool
) -> Iterator[Proxy]:
    """A proxy that runs until the block is left; then it is killed, with no time for a goodbye."""
    config = folder / "litellm_config.yaml"
    config.write_text(_config(upstream, callback, extras=extras))
    if callback == proxy.COPIED_CALLBACK:
        (folder / proxy.COPIED_CALLBACK_FILE).write_text(proxy.callback_source())
    running = Proxy(_free_port(), folder / "logs")
    environment = {
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LITELLM_LOG_DIR": str(running.log_folder),
        "LITELLM_MASTER_KEY": MASTER_KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "ANTHROPIC_API_KEY": PROVIDER_KEY,
        "OPENAI_API_KEY": PROVIDER_KEY,
    }
    if callback == proxy.INSTALLED_CALLBACK:
        environment["PYTHONPATH"] = str(Path(proxy.__file__).parents[2])
    command = [str(python.parent / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
    output = folder / "proxy.log"
    with (
        output.open("wb") as log,
        subprocess.Popen(
            [*command, "--port", str(running.port)],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            _wait_until_alive(process, running.port, output)
            yield running
        finally:
            process.kill()


def _config(upstream: str, callback: str, *, extras: bool) -> str:
    """The config as written, only that the providers live elsewhere."""
    config = proxy.litellm_config(callback)
    for variable, address in (("ANTHROPIC", upstream), ("OPENAI", f"{upstream}/v1")):
        key = f"api_key: os.environ/{variable}_API_KEY"
        assert key in config
        config = config.replace(key, f'{key}, api_base: "{address}"')
    if extras:
        config = config.replace(
            "\n\nlitellm_settings:\n", f"{EXTRA_MODELS}\nlitellm_settings:{EXTRA_SETTINGS}"
        )
    return config


def _free_port() -> int:
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_alive(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline:
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            if _is_alive(port):
                return
        else:
            break
    raise AssertionError(f"the proxy did not start:\n{output.read_text()[-4000:]}")


def _is_alive(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/liveliness")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
