"""A call, what it used, and what it costs."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

#: Why a call has no price: the whole vocabulary. Most are followed by a colon and a name.
UNPRICED_REASONS: Final = (
    "usage_missing",  # nobody counted its tokens
    "usage_mismatch",  # a part of the tokens is larger than the whole
    "usage_unknown",  # :key of something in the usage that is not understood and may cost money
    "model_missing",  # it names no model
    "provider_unknown",  # :provider that no price book has
    "model_unknown",  # :model that no price book has of this provider
    "price_unknown",  # :model whose price at that time no book has
    "modifier_unknown",  # :name=value under which the price of the model is not known
    "unit_without_rate",  # :unit that was used and for which the book has no rate
    "cost_too_large",  # more than a million dollars: the log says nonsense
)


class Usage(NamedTuple):
    """Tokens of one call. None means "not logged", never zero.

    `tokens_in` counts every input token, those read from and written to the provider's cache
    included; `cache_write_tokens` counts every cache write, the one-hour ones
    (`cache_write_1h_tokens`) included; `tokens_out` includes `reasoning_tokens`. Audio tokens are
    parts of the input and of the output.
    """

    tokens_in: int | None = None
    tokens_out: int | None = None
    total_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_in_tokens: int | None = None
    audio_out_tokens: int | None = None


class Bill(NamedTuple):
    """What the price of a call depends on beside the columns of its tokens. Empty for most calls.

    units       what is billed by itself, by name: a part of the tokens (`image_out_tokens`), or
                what is paid by use (`web_search_requests`)
    modifiers   what chooses between the prices of a model, such as `speed`, where it is not the
                standard; the service tier is a column
    iterations  what the provider did within this call and bills each at its own model: `model`,
                and counts by the names of `Usage`. The counts of the call are then not billed
    unknown     the names of what the usage holds and nobody here understands
    provider_nanousd
                what the provider says it charged
    plan        whether the call is part of a plan: then nobody sends a bill for it
    """

    units: Mapping[str, float] = {}
    modifiers: Mapping[str, str] = {}
    iterations: tuple[Mapping[str, Any], ...] = ()
    unknown: tuple[str, ...] = ()
    provider_nanousd: int | None = None
    plan: bool = False


NO_BILL: Final = Bill()


def bill_json(bill: Bill) -> str | None:
    """The bill as a JSON object of its parts that are not empty; None when all are."""
    import json  # noqa: PLC0415 - many who know of calls read no bill

    parts = zip(bill._fields, bill, strict=True)
    held = {name: dict(part) if isinstance(part, Mapping) else part for name, part in parts if part}
    return json.dumps(held, sort_keys=True, separators=(",", ":")) if held else None


@lru_cache(maxsize=256)
def bill_of(text: str | None) -> Bill:
    """The bill that `bill_json` wrote."""
    if text is None:
        return NO_BILL
    import json  # noqa: PLC0415

    held = json.loads(text)
    lists = {name: tuple(held[name]) for name in ("iterations", "unknown") if name in held}
    return Bill(**{**held, **lists})


class Trace(NamedTuple):
    """One LLM call, normalised. The fields up to the bill are in the order of the ledger's columns.

    started_us        start of the call, microseconds since 1970 UTC
    key               tells it from other calls of the same start: the proxy's two ids when the line
                      has both, else None; then the pipeline takes the line's chain digest
    session_via, developer_via
                      where the value was found, so that a claim is not taken for a verified name
    gateway_nanousd   the cost as the proxy reported it, 0 included; None when it did not
    tags              a JSON array, or None
    details           a JSON object of facts that are rarely asked for, or None
    bill              a Bill as JSON, or None
    anomalies         what looked wrong and was left NULL rather than guessed, e.g. "repo_slug"
    """

    started_us: int
    key: str | bytes | None
    call_id: str | None
    session_id: str | None
    session_via: str | None
    developer_id: str | None
    developer_via: str | None
    repo_slug: str | None
    model: str | None
    provider: str | None
    call_type: str | None
    tokens_in: int | None
    tokens_out: int | None
    total_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    cache_write_1h_tokens: int | None
    reasoning_tokens: int | None
    audio_in_tokens: int | None
    audio_out_tokens: int | None
    latency_ms: float | None
    ttft_ms: float | None
    status: str
    status_code: int | None
    cache_hit: bool
    service_tier: str | None
    end_user: str | None
    tags: str | None
    accepted: bool | None
    diff_ratio: float | None
    accepted_lines: int | None
    details: str | None
    gateway_nanousd: int | None
    bill: str | None
    anomalies: tuple[str, ...]


class Checkout(NamedTuple):
    """What git's configuration says of a folder: the remote's `owner/name`, the user's address."""

    repo_slug: str | None = None
    developer_id: str | None = None


def provider_in(model: str | None) -> str:
    """The prefix of a model's name, which stands for its provider; "" when it has none."""
    prefix, slash, _ = (model or "").partition("/")
    return prefix if slash else ""


class Price(NamedTuple):
    """What a call costs and why. `nanousd` is None exactly when `source` is "unpriced".

    table_nanousd   its cost by the price table, whichever cost counts; None: in no table. Of a call
                    on a plan, which itself costs nothing: what the API would have asked
    price_id        the pinned price behind `nanousd`, or else behind `table_nanousd`
    reason          why it is unpriced, or why nobody knows what the API would have asked for a call
                    on a plan: one of UNPRICED_REASONS, for some with a name behind a colon
    """

    nanousd: int | None
    source: str
    table_nanousd: int | None = None
    price_id: int | None = None
    reason: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is a price; of a call on a plan, whether there is one at the API."""
        return (self.table_nanousd if self.source == "plan" else self.nanousd) is not None


class PinnedPrice(NamedTuple):
    """Rates that calls were priced at, as they were when first used; the ledger keeps them.

    price_id                a digest of all the rest
    source                  the `cost_source` of those calls
    provider, model, tier   of the first of them, as logged
    book, entry, match      where the rates stand, and how the entry was found to be the model meant
    from_us, until_us       the time for which the book has them
    rates                   JSON (see `pricing.rates`)
    """

    price_id: int
    source: str
    provider: str
    model: str
    tier: str
    book: str
    entry: str
    match: str
    from_us: int
    until_us: int
    rates: str


class SnapshotFile(NamedTuple):
    """The Parquet file of one day, as it was written."""

    rows: int
    size_bytes: int
    sha256: bytes
