"""prodlensd: an exactly-once ledger of LLM calls, read from a LiteLLM proxy's JSONL traces."""

__version__ = "0.1.0"
