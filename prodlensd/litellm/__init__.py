"""What puts a LiteLLM proxy in front of one's models."""

from prodlensd.litellm.proxy import (
    COPIED_CALLBACK,
    COPIED_CALLBACK_FILE,
    callback_source,
    litellm_config,
    next_steps,
)

__all__ = [
    "COPIED_CALLBACK",
    "COPIED_CALLBACK_FILE",
    "callback_source",
    "litellm_config",
    "next_steps",
]
