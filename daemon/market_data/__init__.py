"""From stream and REST to bars of record; funding, order flow, backfill."""
