"""Name the columns of a file without a header, where their order is sure."""

from typing import Any, Final

from daemon.ingest.tables.reading import RawTable, Wanted
from hyperdrift.errors import BadInput

_DAY: Final = r"^\s*(\d{4}[-./]?\d{2}[-./]?\d{2}|\d{1,2}[-./]\d{1,2}[-./]\d{2,4})\s*$"
_CLOCK: Final = r"^\s*\d{1,2}:?\d{2}(:?\d{2})?(\.\d+)?\s*$"
_BARS: Final = ("time", "open", "high", "low", "close", "volume")
# As exchanges' kline files have them; what follows the close time is not used.
_KLINES: Final = (*_BARS, "close_time", "quote_volume", "count")
_MOST_PLAIN, _LEAST_KLINES = 7, 11


def name_bar_columns(table: RawTable, wanted: Wanted) -> None:
    """Give the columns of candles their names, by the order that other programs write.

    Raises:
        BadInput: If the number of columns tells no order.
    """
    if wanted.columns:
        return
    width = len(table.names)
    names = list(_BARS)
    if width > len(_BARS) and _all_match(table.columns[0], _DAY) and (
        _all_match(table.columns[1], _CLOCK)
    ):  # fmt: skip
        names = ["date", *_BARS]
    elif width >= _LEAST_KLINES:
        names = list(_KLINES)
    if width < len(names) or len(names) + 1 < width < _LEAST_KLINES:
        raise BadInput(
            f"{table.path} has {width} columns without a header, whose order is not sure: "
            "say --columns time=1,open=2,high=3,low=4,close=5,volume=6 with their numbers"
        )
    more = [str(number + 1) for number in range(len(names), min(width, len(names) + 1))]
    table.names = [*names, *more]  # what follows the volume may tell its unit
    table.columns = table.columns[: len(table.names)]
    table.header = True
    table.notes.append(f"no header: read as {', '.join(names[: len(_BARS) + 1])}")


def name_rate_columns(table: RawTable, wanted: Wanted) -> None:
    """Give the columns of funding rates their names: time and rate, or those of candles.

    Raises:
        BadInput: If there is another number of them.
    """
    if wanted.columns:
        return
    if len(table.names) == len(_BARS):  # freqtrade's, with the rates as opens
        table.names, table.header = list(_BARS), True
        return
    if len(table.names) != 2:  # noqa: PLR2004 - time and rate
        raise BadInput(
            f"{table.path} has {len(table.names)} columns without a header: "
            "say --columns time=1,rate=2 with their numbers"
        )
    table.names, table.header = ["time", "rate"], True
    table.notes.append("no header: read as time, rate")


def _all_match(column: Any, pattern: str) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it
    import pyarrow.compute as pc  # noqa: PLC0415 - see above

    text = column.cast(pa.string())
    return bool(pc.all(pc.match_substring_regex(text, pattern)).as_py())
