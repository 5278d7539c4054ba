"""Format times for people."""

import datetime as dt


def utc(t: int) -> str:
    """Return a time in ms UTC as `2026-01-31 23:59`."""
    return f"{dt.datetime.fromtimestamp(t / 1000, dt.UTC):%Y-%m-%d %H:%M}"
