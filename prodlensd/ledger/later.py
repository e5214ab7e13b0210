"""What came to the schema after its first version, one script a version. None ever changes."""

from __future__ import annotations

from typing import Final

_RETENTION: Final = """
-- A call whose row was pruned: it is in the snapshot of its day now, and nowhere else. What stays
-- here tells it from other calls, says where in the snapshot it is (a place is of one line only),
-- and keeps what a snapshot has no column for.
CREATE TABLE pruned (
    started_us INTEGER NOT NULL,
    key BLOB NOT NULL,              -- digest of the trace's key (see connection.key_digest)
    source_id INTEGER NOT NULL,
    source_offset INTEGER NOT NULL,
    fact_id INTEGER NOT NULL,
    cache_write_1h_tokens INTEGER,
    audio_in_tokens INTEGER,
    audio_out_tokens INTEGER,
    cache_hit INTEGER NOT NULL,
    gateway_nanousd INTEGER,
    table_nanousd INTEGER,
    price_id INTEGER,
    PRIMARY KEY (started_us, key)
) STRICT, WITHOUT ROWID;

-- What many pruned calls have in common.
CREATE TABLE fact (
    fact_id INTEGER PRIMARY KEY,
    facts TEXT NOT NULL UNIQUE      -- JSON: see partitions.SHARED
) STRICT;

-- The manifest: the file of a day is <parquet.directory>/event_date=<day>/<host>.parquet, for good,
-- and has this digest. Between the announcement of a new file and its being marked clean it may
-- already have the next one.
ALTER TABLE partition ADD COLUMN host TEXT;
ALTER TABLE partition ADD COLUMN sha256 BLOB;
ALTER TABLE partition ADD COLUMN next_sha256 BLOB;
ALTER TABLE partition ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
UPDATE partition SET version = version + 1;

-- When this log was last found to be older than `retention.log_days` and could not be proven.
ALTER TABLE source ADD COLUMN kept_us INTEGER;

-- Which snapshots were copied where.
CREATE TABLE publication (
    url TEXT NOT NULL,
    day INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    file_bytes INTEGER NOT NULL,
    published_us INTEGER NOT NULL,
    PRIMARY KEY (url, day)
) STRICT, WITHOUT ROWID;

-- How many attempts to publish have failed in a row, why, and when the next one is due: one row.
CREATE TABLE publishing (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    failures INTEGER NOT NULL,
    since_us INTEGER NOT NULL,
    next_us INTEGER NOT NULL,
    fault TEXT NOT NULL
) STRICT;
"""

_HOSTILE_SUMS: Final = """
-- What was refused and is still to be looked at, what somebody has accepted, and what was accepted
-- and its bytes thrown away. The tally of `reason` counts the open ones.
ALTER TABLE dead_letter ADD COLUMN state TEXT NOT NULL DEFAULT 'open'
    CHECK (state IN ('open', 'dismissed', 'purged'));

-- The folder that the snapshot of this day was written to; NULL: by a version that had only one.
ALTER TABLE partition ADD COLUMN directory TEXT;

-- The sums as decimal digits: a log may say anything, and no sum of it is too large for a text.
ALTER TABLE total RENAME TO total_before;
CREATE TABLE total (
    cost_source TEXT PRIMARY KEY,
    cost_nanousd TEXT NOT NULL,
    tokens_in TEXT NOT NULL,
    tokens_out TEXT NOT NULL,
    cache_read_tokens TEXT NOT NULL,
    cache_write_tokens TEXT NOT NULL,
    reasoning_tokens TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO total SELECT * FROM total_before;
DROP TABLE total_before;

-- What `prices check` asks for, which is little of a ledger in order.
CREATE INDEX trace_unpriced ON trace (provider, model, service_tier)
    WHERE cost_source = 'unpriced';
CREATE INDEX trace_disputed ON trace (provider, model, service_tier) WHERE disputed = 'yes';
"""

_BILLS: Final = """
-- What the price of a call depends on beside its counts (JSON: see model.Bill), and why it has none
-- (see model.UNPRICED_REASONS). Of calls that were read before, neither is known.
ALTER TABLE trace ADD COLUMN bill TEXT;
ALTER TABLE trace ADD COLUMN unpriced_reason TEXT;

ALTER TABLE tally RENAME TO tally_before;
CREATE TABLE tally (
    column TEXT NOT NULL CHECK (
        column IN ('cost_source', 'status', 'anomalies', 'disputed', 'reason', 'unpriced_reason')
    ),
    value TEXT NOT NULL,
    traces INTEGER NOT NULL,
    PRIMARY KEY (column, value)
) STRICT, WITHOUT ROWID;
INSERT INTO tally SELECT * FROM tally_before;
DROP TABLE tally_before;

-- The snapshots have more columns now.
UPDATE partition SET version = version + 1;
"""

_WHOLE_SNAPSHOTS: Final = """
-- A call whose row was pruned: it is in the snapshot of its day now, and nowhere else. What stays
-- here tells it from other calls, and says where in the snapshot it is: a place is of one line.
ALTER TABLE pruned RENAME TO pruned_before;
CREATE TABLE pruned (
    started_us INTEGER NOT NULL,
    key BLOB NOT NULL,              -- digest of the trace's key (see connection.key_digest)
    source_id INTEGER NOT NULL,
    source_offset INTEGER NOT NULL,
    PRIMARY KEY (started_us, key)
) STRICT, WITHOUT ROWID;
INSERT INTO pruned SELECT started_us, key, source_id, source_offset FROM pruned_before;

-- What the snapshots had no columns for stays in `pruned_before` and `fact` until the day is
-- written anew, with all there is (see partitions.drop_facts). New ledgers never use them.
UPDATE partition SET version = version + 1;
"""

_RECORDS: Final = """
-- A line may hold many records, and a record may be known and no call. The counters cover
-- [0, offset): records = traces + duplicates + dead letters + passed over, and every line that is
-- not blank holds at least one (an empty list is one that is passed over).
ALTER TABLE source RENAME TO source_before;
DROP INDEX source_live;
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
    state TEXT NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'replaced', 'gone', 'imported')),
    lines INTEGER NOT NULL DEFAULT 0,
    traces INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0,
    dead_letters INTEGER NOT NULL DEFAULT 0,
    blanks INTEGER NOT NULL DEFAULT 0,
    first_seen_us INTEGER NOT NULL,
    last_read_us INTEGER,
    kept_us INTEGER,                -- when it was found too old, and could not be proven
    records INTEGER NOT NULL DEFAULT 0,
    passed_over INTEGER NOT NULL DEFAULT 0,
    CHECK (records = traces + duplicates + dead_letters + passed_over),
    CHECK (records >= lines - blanks)
) STRICT;
INSERT INTO source SELECT *, lines - blanks, 0 FROM source_before;
DROP TABLE source_before;
CREATE INDEX source_live ON source (inode) WHERE state = 'live';

-- Of a refused record that shares its line with others the bytes are not kept, but what tells them.
ALTER TABLE dead_letter ADD COLUMN digest BLOB;
"""

_SPEND_ROWS: Final = """
-- A row of LiteLLM's spend logs, and the call that it tells of: see `witnesses`. Outlives pruning.
CREATE TABLE spend_row (
    id TEXT NOT NULL, row_us INTEGER NOT NULL,  -- of the response; the start, as the row has it
    suffix TEXT NOT NULL,                       -- what LiteLLM added to the id of a cache hit
    started_us INTEGER NOT NULL, key ANY NOT NULL,  -- of the call, or its key's digest if pruned
    line_us INTEGER,                -- the start, as the call's line has it; NULL: none was read
    PRIMARY KEY (id, row_us, suffix)
) STRICT, WITHOUT ROWID;
CREATE INDEX spend_row_start ON spend_row (row_us);
"""

_SPENT: Final = """
-- What was spent in each quarter of an hour before `spent_until`: see `spent`. The cost in
-- nano-dollars is (cost_high << 32) + cost_low. Tokens are REAL: a log may say any number.
CREATE TABLE spent (
    scope TEXT NOT NULL, name TEXT NOT NULL, quarter_us INTEGER NOT NULL,
    calls INTEGER NOT NULL, unpriced INTEGER NOT NULL,
    cost_high INTEGER NOT NULL, cost_low INTEGER NOT NULL,
    tokens_in REAL NOT NULL, cache_read REAL NOT NULL,
    PRIMARY KEY (scope, name, quarter_us)
) STRICT, WITHOUT ROWID;
CREATE TABLE spent_until (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    until_us INTEGER NOT NULL
) STRICT;
INSERT INTO spent_until VALUES (1, -9223372036854775808);

-- What was last told to notify.webhook of a budget, or of the health.
CREATE TABLE told (
    subject TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    told_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- How many attempts to tell have failed in a row, as in `publishing`: one row.
CREATE TABLE telling (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    failures INTEGER NOT NULL,
    since_us INTEGER NOT NULL,
    next_us INTEGER NOT NULL,
    fault TEXT NOT NULL
) STRICT;

-- Calls that were pruned before there were these sums, and are not in them.
ALTER TABLE partition ADD COLUMN unspent INTEGER NOT NULL DEFAULT 0;
UPDATE partition SET unspent = pruned;
"""

_TRANSCRIPTS: Final = """
-- `format` is 'log', or that of a transcript; `memory` belongs to the checkpoint: what the lines of
-- a transcript before it say of those after it.
ALTER TABLE source ADD COLUMN format TEXT NOT NULL DEFAULT 'log';
ALTER TABLE source ADD COLUMN memory TEXT NOT NULL DEFAULT '';

-- A call that transcripts tell of, by the key that all of its lines have, and where it is: see
-- `transcript_calls`. Outlives pruning.
CREATE TABLE transcript_call (
    transcript_key TEXT PRIMARY KEY,
    started_us INTEGER NOT NULL, key ANY NOT NULL,  -- of the call
    line_us INTEGER                 -- the start, as the proxy's line has it; NULL: none was read
) STRICT, WITHOUT ROWID;
"""

# ruff: noqa: S608 - statements are put together from names of columns
_COMMON: Final = (
    "t.session_via, t.developer_id, t.developer_via, t.repo_slug, t.model, t.provider, "
    "t.call_type, t.status, t.status_code, t.cache_hit, t.service_tier, t.end_user, t.tags, "
    "t.details, t.cost_source, t.price_id, t.anomalies, t.unpriced_reason"
)
_OWN: Final = (
    "started_us, key, call_id, session_id, tokens_in, tokens_out, total_tokens, "
    "cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens, "
    "audio_in_tokens, audio_out_tokens, latency_ms, ttft_ms, accepted, diff_ratio, "
    "accepted_lines, gateway_nanousd, cost_nanousd, table_nanousd, source_id, source_offset, bill"
)
#: SQL for the era of a call. Before 1970 it begins below as well.
_ERA: Final = (
    "(t.started_us - (t.started_us % 2592000000000 + 2592000000000) % 2592000000000) "
    "/ 2592000000000"
)
_DIGEST: Final = f"key_digest(json_array({_ERA}, {_COMMON}))"
_COMMON_ONCE: Final = f"""
-- What calls of one era (30 days) have in common, once: see `call_rows`. The columns of `trace`,
-- which is a view now.
CREATE TABLE common (
    common_id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,    -- of all that follows
    era INTEGER NOT NULL,
    session_via TEXT,
    developer_id TEXT,
    developer_via TEXT,
    repo_slug TEXT,
    model TEXT,
    provider TEXT,
    call_type TEXT,
    status TEXT NOT NULL,
    status_code INTEGER,
    cache_hit INTEGER NOT NULL,
    service_tier TEXT,
    end_user TEXT,
    tags TEXT,
    details TEXT,
    cost_source TEXT NOT NULL,
    price_id INTEGER,               -- the price behind cost_nanousd, or else behind table_nanousd
    anomalies TEXT,
    unpriced_reason TEXT
) STRICT;
CREATE INDEX common_era ON common (era);

-- One call, with what it has for itself. The primary key is at once the guard against counting
-- twice and the index by time; lines come almost in time order, so inserts stay at the right edge
-- of one B-tree.
CREATE TABLE call (
    started_us INTEGER NOT NULL,
    key ANY NOT NULL,               -- TEXT: call id, space, response id; BLOB: chain digest
    call_id TEXT,                   -- only where the key does not hold it
    session_id TEXT,
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
    accepted INTEGER,
    diff_ratio REAL,
    accepted_lines INTEGER,
    gateway_nanousd INTEGER,
    cost_nanousd INTEGER,           -- NULL exactly where cost_source is 'unpriced'
    table_nanousd INTEGER,          -- what a price table asks, whoever's cost counts
    source_id INTEGER NOT NULL,
    source_offset INTEGER NOT NULL,
    bill TEXT,
    common_id INTEGER NOT NULL,
    -- Whether the gateway and the table are more than a factor of two apart.
    disputed TEXT GENERATED ALWAYS AS (
        CASE WHEN gateway_nanousd > 0 AND (
            gateway_nanousd > 2 * table_nanousd OR table_nanousd > 2 * gateway_nanousd
        ) THEN 'yes' END
    ) VIRTUAL,
    PRIMARY KEY (started_us, key)
) STRICT, WITHOUT ROWID;

INSERT INTO common (digest, era, {_COMMON.replace("t.", "")})
    SELECT {_DIGEST}, {_ERA}, {_COMMON} FROM trace AS t
    WHERE true ON CONFLICT DO NOTHING;
INSERT INTO call ({_OWN}, common_id)
    SELECT {_OWN}, (SELECT common_id FROM common WHERE digest = {_DIGEST}) FROM trace AS t;
DROP TABLE trace;

-- What `prices check` asks for, which is little of a ledger.
CREATE INDEX call_unpriced ON call (common_id) WHERE cost_nanousd IS NULL;
CREATE INDEX call_disputed ON call (common_id) WHERE disputed = 'yes';
"""

#: LATER[n] leads from schema version n + 1 to n + 2.
LATER: Final = (
    _RETENTION,
    _HOSTILE_SUMS,
    _BILLS,
    _WHOLE_SNAPSHOTS,
    _RECORDS,
    _SPEND_ROWS,
    _SPENT,
    _TRANSCRIPTS,
    _COMMON_ONCE,
)
