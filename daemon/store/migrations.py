"""The schema of the database, as the steps that lead from each version to the next.

A step that was released is never edited: files in the field have run it. Add a new one below.
"""

from typing import Final

# What was imported before imports were sources becomes one source of each slot.
NAME_OLD_IMPORTS: Final = (
    """
    INSERT INTO sources (kind, coin, interval, name, at_ms, digest, rows)
        SELECT 'bars', coin, interval, 'before-sources', 1000 * strftime('%s', 'now'), '', count(*)
        FROM bars WHERE provenance = 'import' AND source = 0 GROUP BY coin, interval
    """,
    """
    UPDATE bars SET revisions = 0, source = (SELECT id FROM sources WHERE name = 'before-sources'
        AND sources.coin = bars.coin AND sources.interval = bars.interval)
        WHERE provenance = 'import' AND source = 0
    """,
)

# Each entry brings the schema from the version of its position to the next.
MIGRATIONS: Final = (
    """
    CREATE TABLE bars (
        coin TEXT NOT NULL, interval TEXT NOT NULL, t INTEGER NOT NULL,
        open REAL NOT NULL, high REAL NOT NULL, low REAL NOT NULL, close REAL NOT NULL,
        volume REAL NOT NULL, n INTEGER NOT NULL,
        provenance TEXT NOT NULL, revisions INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (coin, interval, t)) STRICT, WITHOUT ROWID;
    CREATE TABLE funding (
        coin TEXT NOT NULL, time INTEGER NOT NULL, rate REAL NOT NULL,
        PRIMARY KEY (coin, time)) STRICT, WITHOUT ROWID;
    CREATE TABLE flow (
        coin TEXT NOT NULL, interval TEXT NOT NULL, t INTEGER NOT NULL,
        s_top REAL NOT NULL, s_bot REAL NOT NULL,
        PRIMARY KEY (coin, interval, t)) STRICT, WITHOUT ROWID;
    CREATE TABLE gaps (
        coin TEXT NOT NULL, interval TEXT NOT NULL,
        from_t INTEGER NOT NULL, to_t INTEGER NOT NULL,
        PRIMARY KEY (coin, interval, from_t)) STRICT, WITHOUT ROWID;
    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY, slot TEXT, at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL, body TEXT NOT NULL) STRICT;
    CREATE INDEX journal_by_time ON journal (at_ms);
    """,
    # The journal holds every prediction, because a start replays it to the engine; this view
    # shows them as a table.
    """
    ALTER TABLE flow ADD COLUMN seen REAL NOT NULL DEFAULT 0;
    CREATE INDEX scored_bars ON journal (slot, at_ms) WHERE kind = 'BarScored';
    CREATE VIEW predictions AS
        SELECT slot, json_extract(body, '$.t') AS t, json_extract(body, '$.model_id') AS model_id,
            json_extract(body, '$.p[0]') AS p_down, json_extract(body, '$.p[1]') AS p_neutral,
            json_extract(body, '$.p[2]') AS p_up
        FROM journal WHERE kind = 'BarScored' AND json_extract(body, '$.p[0]') IS NOT NULL;
    """,
    # Stretches without a market, which no model may learn from (`daemon.store.market_closures`).
    """
    CREATE TABLE silences (
        coin TEXT NOT NULL, interval TEXT NOT NULL,
        from_t INTEGER NOT NULL, to_t INTEGER NOT NULL, kind TEXT NOT NULL,
        PRIMARY KEY (coin, interval, from_t)) STRICT, WITHOUT ROWID;
    """,
    # An index of the entries that clients can cause in large numbers, so that they are found
    # without a scan (`daemon.store.journal_table.remove_chatter`).
    """
    CREATE INDEX chatter ON journal (at_ms) WHERE kind IN
        ('BotSeen', 'FeaturesDiffered', 'FeaturesAgreed', 'Ticked', 'command_answered');
    """,
    # A bot that connects again and again also causes `BotSpoke` each time.
    """
    DROP INDEX chatter;
    CREATE INDEX chatter ON journal (at_ms) WHERE kind IN
        ('BotSeen', 'BotSpoke', 'FeaturesDiffered', 'FeaturesAgreed', 'Ticked', 'command_answered');
    """,
    # What is true of the whole store, by name (`daemon.store.properties`).
    """
    CREATE TABLE properties (
        name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    """,
    # SQLite's quick_check wants the columns of a key to come first in such a table.
    # Imports as sources that can be forgotten (`daemon.store.imports`); 0 is the venue. What
    # older versions imported becomes one source of each slot.
    """
    ALTER TABLE bars ADD COLUMN source INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE outranked_bars (
        coin TEXT NOT NULL, interval TEXT NOT NULL, t INTEGER NOT NULL, source INTEGER NOT NULL,
        open REAL NOT NULL, high REAL NOT NULL, low REAL NOT NULL, close REAL NOT NULL,
        volume REAL NOT NULL, n INTEGER NOT NULL,
        provenance TEXT NOT NULL, revisions INTEGER NOT NULL,
        PRIMARY KEY (coin, interval, t, source)) STRICT, WITHOUT ROWID;
    CREATE TABLE imported_funding (
        coin TEXT NOT NULL, time INTEGER NOT NULL, source INTEGER NOT NULL, rate REAL NOT NULL,
        PRIMARY KEY (coin, time, source)) STRICT, WITHOUT ROWID;
    CREATE TABLE imported_flow (
        coin TEXT NOT NULL, interval TEXT NOT NULL, t INTEGER NOT NULL, source INTEGER NOT NULL,
        s_top REAL NOT NULL, s_bot REAL NOT NULL, seen REAL NOT NULL,
        PRIMARY KEY (coin, interval, t, source)) STRICT, WITHOUT ROWID;
    CREATE TABLE sources (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, coin TEXT NOT NULL, interval TEXT NOT NULL,
        name TEXT NOT NULL, at_ms INTEGER NOT NULL, digest TEXT NOT NULL, rows INTEGER NOT NULL,
        checked INTEGER NOT NULL DEFAULT 0, UNIQUE (kind, coin, interval, name)) STRICT;
    """
    + "; ".join(NAME_OLD_IMPORTS),
    # What addresses took in each bar, and the cohorts learnt from it (`daemon.store.taker_table`).
    # Not without rowid: rows of two kilobytes would take a page more each.
    """
    CREATE TABLE takers (
        id INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE, t INTEGER NOT NULL) STRICT;
    CREATE TABLE taker_flow (
        coin TEXT NOT NULL, interval TEXT NOT NULL, t INTEGER NOT NULL,
        takers BLOB NOT NULL, signed BLOB NOT NULL,
        PRIMARY KEY (coin, interval, t)) STRICT;
    CREATE TABLE cohort_lists (
        coin TEXT NOT NULL, interval TEXT NOT NULL, from_t INTEGER NOT NULL,
        top TEXT NOT NULL, bottom TEXT NOT NULL,
        PRIMARY KEY (coin, interval, from_t)) STRICT, WITHOUT ROWID;
    """,
    # The journal without the scores of bars, for people (`daemon.store.journal_pages`).
    """
    CREATE INDEX news_by_slot ON journal (slot, kind) WHERE kind <> 'BarScored';
    CREATE INDEX news_by_kind ON journal (kind) WHERE kind <> 'BarScored';
    CREATE INDEX news_by_time ON journal (at_ms, kind) WHERE kind <> 'BarScored';
    """,
    # The engine of each slot as it was a while ago; the journal alone can rebuild it too
    # (`daemon.store.engine_table`).
    """
    CREATE TABLE engines (
        slot TEXT NOT NULL PRIMARY KEY, seq INTEGER NOT NULL, first_t INTEGER NOT NULL,
        before INTEGER NOT NULL, key TEXT NOT NULL, state BLOB NOT NULL) STRICT;
    """,
)

SCHEMA: Final = len(MIGRATIONS)
"""The version of the schema that this hyperdrift writes."""

SCHEMA_OF_IMPORTS: Final = 7
"""The version in which imports became sources."""
