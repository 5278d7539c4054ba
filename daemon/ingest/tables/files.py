"""Read any file as a table of raw columns: text, Parquet or Feather."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from daemon.core.extras import require
from daemon.core.outside_text import decode_json
from daemon.ingest.tables import columns, identity
from daemon.ingest.tables.containers import Content, as_utf8, unpacked
from daemon.ingest.tables.delimited import read_delimited
from daemon.ingest.tables.json_rows import read_json
from daemon.ingest.tables.reading import OnBytes, RawTable, Wanted, printable
from hyperdrift.errors import BadInput

_INDEX: Final = "__index_level_"
_TWO_LEVELS: Final = re.compile(r"\(?(?:'(.*)'|\"(.*)\"), (?:'(.*)'|\"(.*)\")\)?")
_FIRST_S: Final = 1_000_000_000  # below it an index numbers rows


class _Range(msgspec.Struct):
    """An index of evenly spaced numbers, as pandas describes it in a file."""

    start: int
    stop: int
    step: int
    name: str | None = None


class _Pandas(msgspec.Struct):
    """What pandas says of a table beside its columns."""

    index_columns: list[_Range | str] = []


def read_table(path: Path, wanted: Wanted, on_bytes: OnBytes = lambda _: None) -> RawTable:
    """Read a file; its content tells the format.

    Args:
        path: The file.
        wanted: The columns that a person names.
        on_bytes: Called with the number of bytes read since its last call.

    Raises:
        BadInput: If the file cannot be read or holds no table.
        ConfigError: If the library that reads tables is not installed.
    """
    require("pyarrow", f"reading {path.name}")
    with unpacked(path, on_bytes) as content:
        table = _read(path, content, wanted)
    _take_coin(table, wanted.coin)
    table.names = [printable(name) for name in table.names]
    table.all_names = [printable(name) for name in table.all_names or table.names]
    table.says = {key: printable(value) for key, value in table.says.items()}
    return table


def _read(path: Path, content: Content, wanted: Wanted) -> RawTable:
    if content.kind != "text":
        return _read_columnar(path, content)
    if _is_json(content):
        return read_json(path, content, wanted)

    def useful(names: Sequence[str]) -> list[int]:
        of_coins = (i for i, name in enumerate(names) if _field_and_coin(name) is not None)
        return sorted({*columns.useful(names, wanted), *of_coins})

    return read_delimited(path, content, columns.is_known, useful)


def _take_coin(table: RawTable, coin: str) -> None:
    """Take the columns of one coin, if every price has the coin in the name of its column.

    Pandas writes `('Close', 'BTC-USD')` for a header of two levels, and people `BTC-USD_close`.

    Raises:
        BadInput: If all of them are of other coins.
    """
    split = [_field_and_coin(name) or (name, "") for name in table.names]
    coins = [named for field, named in split if named and columns.value_role(field) == "open"]
    if not coins or any(columns.value_role(name) == "open" for name in table.names):
        return
    mine = [named for named in coins if identity.is_coin(named, coin)] if coin else coins
    if not mine:
        raise BadInput(f"{table.path} is of {', '.join(coins[:8])}, not {coin}")
    kept = [i for i, (_, named) in enumerate(split) if named in {"", *mine}]
    table.names = [split[i][0] for i in kept]
    table.columns = [table.columns[i] for i in kept]
    table.all_names = []
    table.words.append(f"Ticker: {', '.join(mine)}")


def _field_and_coin(name: str) -> tuple[str, str] | None:
    """Return the field and the coin of a column whose name says both; None if it does not."""
    if pair := _TWO_LEVELS.fullmatch(name):
        parts = [(pair[1] or pair[2] or "", pair[3] or pair[4] or "")]
    else:
        parts = [cut(mark)[::2] for mark in (" ", "_") for cut in (name.partition, name.rpartition)]
    for one, other in parts:
        for field, coin in ((one, other), (other, one)):
            if columns.value_role(field) and identity.looks_like_coin(coin):
                return field, coin
    return (one or other, "") if pair else None


def _is_json(content: Content) -> bool:
    """Return whether text begins as JSON does."""
    if content.encoding.startswith(("utf-16", "utf-32")):
        begin = as_utf8(content).read(64)
    else:
        content.stream.seek(0)
        begin = content.stream.read(64).removeprefix(b"\xef\xbb\xbf")
    content.stream.seek(0)
    return begin.lstrip().startswith((b"[", b"{", b'"[', b'"{'))


def _read_columnar(path: Path, content: Content) -> RawTable:
    """Read Parquet, Feather or a stream of Arrow; every column as typed, without dictionaries.

    Raises:
        BadInput: If the file is damaged.
    """
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it
    from pyarrow import feather, parquet  # noqa: PLC0415 - see above

    try:
        source = pa.PythonFile(content.stream, mode="r")
        if content.kind == "parquet":
            table = parquet.read_table(source)
        elif content.kind == "stream":
            table = pa.ipc.open_stream(source).read_all()
        else:
            table = feather.read_table(pa.BufferReader(content.stream.read()))
    except (pa.ArrowException, OSError, ValueError) as e:
        raise BadInput(f"{path} cannot be read ({str(e).splitlines()[0]})") from e
    table = _with_range(table)
    # Lists and records have no value of a bar.
    table = table.select([i for i, f in enumerate(table.schema) if not pa.types.is_nested(f.type)])
    names = ["" if name.startswith(_INDEX) else name for name in table.column_names]
    columns = [_plain(column) for column in table.columns]
    if len(names) > len(set(names)) and "" in names:
        # An index of several levels: only one of them can be the time.
        levels = [i for i, name in enumerate(names) if not name]
        for level, i in enumerate(levels):
            names[i] = f"index {level}" if len(levels) > 1 else ""
    raw = RawTable(str(path), names, columns)
    if not columns:
        raise BadInput(f"{path} has no columns")
    return raw


def _with_range(table: Any) -> Any:
    """Return a table with the index that pandas wrote down as a range, if its rows have times.

    Times at even distances are such a range: pandas saves its ends, and no column.
    """
    import pyarrow as pa  # noqa: PLC0415 - see _read_columnar

    try:
        said = decode_json((table.schema.metadata or {}).get(b"pandas", b"{}"), _Pandas)
    except BadInput:  # pandas did not write it
        return table
    for index in said.index_columns:
        if isinstance(index, _Range) and index.start >= _FIRST_S and index.step > 0:
            times = range(index.start, index.stop, index.step)
            if len(times) == table.num_rows:
                table = table.add_column(0, index.name or _INDEX, pa.array(times, pa.int64()))
    return table


def _plain(column: Any) -> Any:
    """Return a column without dictionaries, and decimals as text, which keeps them exact."""
    import pyarrow as pa  # noqa: PLC0415 - see _read_columnar

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.string())
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    if pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
        column = column.cast(pa.int64())
    return column
