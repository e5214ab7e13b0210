"""What puts a LiteLLM proxy in front of one's models: its config, its callback, how to use it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

#: The callback as the config names it: of an installed prodlensd, or copied beside the config.
INSTALLED_CALLBACK: Final = "prodlensd.litellm_callback.trace_logger"
COPIED_CALLBACK: Final = "prodlensd_callback.trace_logger"
COPIED_CALLBACK_FILE: Final = "prodlensd_callback.py"
DEFAULT_PORT: Final = 4000


def litellm_config(callback: str = INSTALLED_CALLBACK) -> str:
    """A complete LiteLLM config, in YAML, that traces to `callback`."""
    template = (
        files("prodlensd.litellm").joinpath("litellm_config.yaml").read_text(encoding="utf-8")
    )
    return template.replace(INSTALLED_CALLBACK, callback)


def callback_source() -> str:
    """The source of the callback, which works as a file of its own.

    It is read and not imported: where LiteLLM is installed, importing it would load LiteLLM.
    """
    return files("prodlensd").joinpath("litellm_callback.py").read_text(encoding="utf-8")


def callback_folder(env: Mapping[str, str]) -> Path:
    """Where the callback writes with these variables: as its `log_folder`, which is not imported.

    See `callback_source` for why not.
    """
    home = env.get("PRODLENSD_HOME") or "~/.local/share/prodlensd"
    folder = env.get("LITELLM_LOG_DIR") or f"{home}/logs"
    return Path(folder).expanduser().absolute()


def next_steps(config_path: Path, log_folder: Path, port: int = DEFAULT_PORT) -> str:
    """What to type to start the proxy with this config and to send one's tools through it.

    `log_folder` is the folder that the daemon reads.
    """
    address = f"http://127.0.0.1:{port}"
    return f"""\
Start the proxy, and keep the master key, which your tools show to the proxy:

  export LITELLM_MASTER_KEY=sk-$(openssl rand -hex 32)
  export LITELLM_LOG_DIR={quoted(log_folder)}
  export LITELLM_LOCAL_MODEL_COST_MAP=True  # use the prices LiteLLM ships, fetch none
  export ANTHROPIC_API_KEY=... OPENAI_API_KEY=...
  litellm --config {quoted(config_path)} --host 127.0.0.1 --port {port}

Claude Code, in a repository and a shell with the same LITELLM_MASTER_KEY (the
two headers stand on two lines in one pair of quotes):

  export ANTHROPIC_BASE_URL={address}
  export ANTHROPIC_AUTH_TOKEN=$LITELLM_MASTER_KEY
  export ANTHROPIC_CUSTOM_HEADERS="x-prodlens-developer: $(git config user.email)
x-prodlens-repo: $(git remote get-url origin)"

OpenAI clients, in such a shell (let them send the same two headers, or
session_id, developer_id and repo in the request's metadata):

  export OPENAI_BASE_URL={address}/v1
  export OPENAI_API_KEY=$LITELLM_MASTER_KEY
"""


def quoted(path: Path) -> str:
    """The path for a shell; with what is not printable as bash, ksh and zsh read it."""
    if (text := str(path)).isprintable():
        return shlex.quote(text)
    printable = range(ord(" "), 0x7F)
    escaped = "".join(
        chr(byte) if byte in printable and chr(byte) not in "'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f"$'{escaped}'"
