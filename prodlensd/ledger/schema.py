"""The ledger's tables, and the way from every older schema to this one.

They are private: what other programs read are the views (see `views`).
"""

from __future__ import annotations

from typing import Final

from prodlensd.ledger.later import LATER

#: "PLDS" in the SQLite header: tells our database from anybody else's.
APPLICATION_ID: Final = 0x504C4453

#: Whether the gateway and the table are more than a factor of two apart: see `count_disputed`.
DISPUTED: Final = """CASE WHEN gateway_nanousd > 0 AND (
            gateway_nanousd > 2 * table_nanousd OR table_nanousd > 2 * gateway_nanousd
        ) THEN 'yes' END"""

_TABLES: Final = f"""
-- One stream of bytes, from its first line on. Its counters cover [0, offset): lines = traces +
-- duplicates + dead letters + blanks. A file whose bytes changed under us goes on as a new source.
CREATE TABLE source (
    source_id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    host TEXT NOT NULL,
    dev INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    offset INTEGER NOT NULL DEFAULT 0,
    chain BLOB NOT NULL,
    record_bytes INTEGER NOT NULL DEFAULT 0,
    record_digest BLOB NOT NULL DEFAULT x'',
    state TEXT NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'replaced', 'gone')),
    lines INTEGER NOT NULL DEFAULT 0,
    traces INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0,
    dead_letters INTEGER NOT NULL DEFAULT 0,
    blanks INTEGER NOT NULL DEFAULT 0,
    first_seen_us INTEGER NOT NULL,
    last_read_us INTEGER,
    CHECK (lines = traces + duplicates + dead_letters + blanks)
) STRICT;
CREATE INDEX source_live ON source (inode) WHERE state = 'live';

-- One call. The primary key is at once the guard against counting twice and the index by time;
-- lines come almost in time order, so inserts stay at the right edge of one B-tree.
CREATE TABLE trace (
    started_us INTEGER NOT NULL,
    key ANY NOT NULL,               -- TEXT: call id, space, response id; BLOB: chain digest
    call_id TEXT,                   -- only where the key does not hold it
    session_id TEXT,
    session_via TEXT,
    developer_id TEXT,
    developer_via TEXT,
    repo_slug TEXT,
    model TEXT,
    provider TEXT,
    call_type TEXT,
    tokens_in INTEGER,
    tokens_out INTEGER,
    total_tokens INTEGER,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    cache_write_1h_tokens INTEGER,
    reasoning_tokens INTEGER,
    audio_in_tokens INTEGER,
    audio_out_tokens INTEGER,
    latency_ms REAL,
    ttft_ms REAL,
    status TEXT NOT NULL,
    status_code INTEGER,
    cache_hit INTEGER NOT NULL,
    service_tier TEXT,
    end_user TEXT,
    tags TEXT,
    accepted INTEGER,
    diff_ratio REAL,
    accepted_lines INTEGER,
    details TEXT,
    gateway_nanousd INTEGER,
    cost_nanousd INTEGER,
    cost_source TEXT NOT NULL,
    table_nanousd INTEGER,          -- what a price table asks, whoever's cost counts
    price_id INTEGER,               -- the price behind cost_nanousd, or else behind table_nanousd
    anomalies TEXT,
    source_id INTEGER NOT NULL,
    source_offset INTEGER NOT NULL,
    -- Whether the gateway and the table are more than a factor of two apart.
    disputed TEXT GENERATED ALWAYS AS (
        {DISPUTED}
    ) VIRTUAL,
    PRIMARY KEY (started_us, key)
) STRICT, WITHOUT ROWID;

-- How many traces have each value of a column, and dead letters each reason: what `status` and the
-- metrics would else have to count.
CREATE TABLE tally (
    column TEXT NOT NULL CHECK (
        column IN ('cost_source', 'status', 'anomalies', 'disputed', 'reason')
    ),
    value TEXT NOT NULL,
    traces INTEGER NOT NULL,
    PRIMARY KEY (column, value)
) STRICT, WITHOUT ROWID;

-- What the traces of each cost_source add up to (see tallies.TOTALLED).
CREATE TABLE total (
    cost_source TEXT PRIMARY KEY,
    cost_nanousd INTEGER NOT NULL,
    tokens_in INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Rates that calls were priced at, as they were when first used; never changed. The book last said
-- so at `confirmed_us`, whatever a newer one says.
CREATE TABLE price (
    price_id INTEGER PRIMARY KEY,   -- a digest of what follows but for the version of the book
    source TEXT NOT NULL,           -- which cost_source it gives
    provider TEXT NOT NULL,         -- the call it was asked for, as logged
    model TEXT NOT NULL,
    tier TEXT NOT NULL,
    book TEXT NOT NULL,             -- where it stands, and how that was found to be the model meant
    entry TEXT NOT NULL,
    match TEXT NOT NULL,
    from_us INTEGER NOT NULL,       -- when it holds, says the book
    until_us INTEGER NOT NULL,
    rates TEXT NOT NULL,            -- JSON: pico-USD per token, in the order of pricing.Rates
    pinned_us INTEGER NOT NULL,
    confirmed_us INTEGER NOT NULL
) STRICT;
CREATE INDEX price_of_model ON price (provider, model, tier);

-- One run of `reprice` that changed anything.
CREATE TABLE repricing (
    repricing_id INTEGER PRIMARY KEY,
    version TEXT NOT NULL,          -- of prodlensd
    selection TEXT NOT NULL,        -- what was looked at: JSON
    started_us INTEGER NOT NULL
) STRICT;

-- What such a run changed: one call's cost, before and after.
CREATE TABLE cost_change (
    started_us INTEGER NOT NULL,
    key ANY NOT NULL,
    repricing_id INTEGER NOT NULL,
    old_nanousd INTEGER,
    old_source TEXT NOT NULL,
    old_price_id INTEGER,
    new_nanousd INTEGER,
    new_source TEXT NOT NULL,
    new_price_id INTEGER,
    PRIMARY KEY (started_us, key, repricing_id)
) STRICT, WITHOUT ROWID;

-- What the calls that nobody could price were last priced by: one row.
CREATE TABLE pricing (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    fingerprint TEXT NOT NULL
) STRICT;

CREATE TABLE dead_letter (
    key BLOB PRIMARY KEY,
    source_id INTEGER NOT NULL,
    source_offset INTEGER NOT NULL,
    length INTEGER NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    raw BLOB NOT NULL,
    received_us INTEGER NOT NULL
) STRICT;

CREATE TABLE gap (
    gap_id INTEGER PRIMARY KEY,
    source_id INTEGER NOT NULL,
    source_offset INTEGER NOT NULL,
    known_bytes INTEGER NOT NULL,
    reason TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved', 'acknowledged')),
    first_seen_us INTEGER NOT NULL
) STRICT;

-- One UTC day. `version` grows with every change of its traces; the snapshot holds
-- `compacted_version`.
CREATE TABLE partition (
    day INTEGER PRIMARY KEY,        -- days since 1970-01-01
    version INTEGER NOT NULL,
    compacted_version INTEGER NOT NULL DEFAULT 0,
    compacted_us INTEGER,
    rows INTEGER,
    file_bytes INTEGER
) STRICT;

-- The running daemon's heartbeat: one row.
CREATE TABLE daemon (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    started_us INTEGER NOT NULL,
    beat_us INTEGER NOT NULL,
    phase TEXT NOT NULL,
    watcher TEXT NOT NULL,
    fault TEXT,
    measures TEXT                   -- JSON: see measures.Measures
) STRICT;
"""

#: The word of `unpriced_reason`, without the name behind it.
REASON_WORD: Final = "substr(unpriced_reason, 1, instr(unpriced_reason || ':', ':') - 1)"

#: MIGRATIONS[n] leads from schema version n to n + 1. Published ones never change.
MIGRATIONS: Final[tuple[str, ...]] = (_TABLES, *LATER)
SCHEMA_VERSION: Final = len(MIGRATIONS)
