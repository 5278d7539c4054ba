"""Read tables from JSON: arrays, objects, lines, pandas' orientations and sockets' messages."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from daemon.ingest.tables.columns import COINS, folded
from daemon.ingest.tables.containers import Content, as_utf8
from daemon.ingest.tables.identity import interval_ms, is_coin, longest_part, looks_like_coin
from daemon.ingest.tables.json_columns import CANDLE, ColumnMaker, is_row
from daemon.ingest.tables.reading import RawTable, Wanted, reasons_text
from hyperdrift.errors import BadInput

_PIECE: Final = 20_000  # rows that are Python objects at a time
_PIECE_BYTES: Final = 1 << 22
_DEEPEST: Final = 6
# A status in the place of a name, as chart sites answer.
_STATUS: Final = frozenset({"ok", "success", "true", "false", ""})
_BROKEN: Final = object()
# Keys of the names of columns, and of the rows beside them.
_HEADS: Final = ("columns", "fields", "header", "headers", "meta")
_ROWS: Final = ("data", "values", "rows", "items", "candles", "records")
_LISTS: Final = re.compile(rb"\[\s*\[")
_MOST_LISTS: Final = 1000
# A key that names a coin, and perhaps an interval: `BTC`, `BTC/USDC:USDC`, `BTC_5m`.
_KEY: Final = re.compile(r"(.+?)(?:[-_ ](\d+[A-Za-z]+))?")
_BETWEEN: Final = re.compile(r"[\s,]*")
_decode_lines: Final = msgspec.json.Decoder().decode_lines

Layer = Mapping[str, msgspec.Raw]


class _Sought(NamedTuple):
    """The file, what it is read for, and notes on what was taken of it."""

    path: Path
    wanted: Wanted
    notes: list[str]


class _Found(NamedTuple):
    """Pieces of rows, their names if they are lists, and what a document says of all of them."""

    pieces: Iterable[Sequence[Any]]
    names: list[str] | None
    says: dict[str, str]


def read_json(path: Path, content: Content, wanted: Wanted) -> RawTable:
    """Read a table from JSON or JSON lines, numbers exact to the last bit.

    Args:
        path: The file, for messages.
        content: Its text.
        wanted: The coin and interval whose table is taken, where each has one of its own.

    Raises:
        BadInput: If the text is no JSON, or holds no table, or several that are not told apart.
    """
    lost: Counter[str] = Counter()
    sought = _Sought(path, wanted, [])
    try:
        found = _found(sought, as_utf8(content).read(), lost)
        maker = ColumnMaker(found.names)
        for piece in found.pieces:
            maker.add(piece)
    except RecursionError as e:
        raise BadInput(f"{path} is nested too deeply to be a table") from e
    except (ValueError, msgspec.MsgspecError) as e:
        raise BadInput(f"{path} cannot be read ({e})") from e
    names, columns = maker.finished()
    lost.update(maker.lost)
    if not columns:
        why = reasons_text(lost) or "it is empty"
        raise BadInput(f"{path} has no rows of a table: {why}; write one list of records")
    table = RawTable(str(path), names, columns, header=maker.named, says=found.says, lost=lost)
    table.states, table.notes = maker.states, sought.notes
    return table


def _found(sought: _Sought, data: bytes, lost: Counter[str]) -> _Found:
    """Return the rows of one document, or of lines of documents."""
    try:
        return _peel(sought, msgspec.Raw(data), {}, 0)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        first = data.partition(b"\n")[0].strip()
        if len(first) < len(data.strip()) and _decoded(first) is not _BROKEN:
            return _Found(_lines(data, lost), None, {})
        value = _decoded(data)
        if value is _BROKEN and (rows := _documents(data)):
            return _Found(_cut(rows), None, {})
        if value is _BROKEN:
            why = f"it is no JSON ({error}): fetch or write it again"
            raise BadInput(f"{sought.path} cannot be read: {why}") from error
        return _peel(sought, msgspec.Raw(json.dumps(value).encode()), {}, 0)


def _decoded(text: bytes) -> Any:
    """Decode JSON, also with NaN and half characters as Python writes them."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _plain(json.loads(text))
    except (ValueError, RecursionError):
        return _BROKEN


def _documents(data: bytes) -> list[Any]:
    """Return the rows of documents that follow each other without lines; [] if they are none."""
    decoder, found, at = json.JSONDecoder(), list[Any](), 0
    try:
        text = data.decode()
        while (at := _BETWEEN.match(text, at).end()) < len(text):  # type: ignore[union-attr]
            value, at = decoder.raw_decode(text, at)
            is_rows = isinstance(value, list) and value and isinstance(value[0], list | dict)
            found += value if is_rows else [value]
    except (ValueError, RecursionError):
        return []
    return [_plain(each) for each in found] if all(type(x) in {list, dict} for x in found) else []


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: without NaN, infinity and half characters."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    return value


def _lines(data: bytes, lost: Counter[str]) -> Iterator[Sequence[Any]]:
    begin = 0
    while begin < len(data):
        end = data.find(b"\n", min(begin + _PIECE_BYTES, len(data))) + 1 or len(data)
        text, begin = data[begin:end], end
        try:
            rows = _decode_lines(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            decoded = [_decoded(line) for line in text.splitlines() if line.strip()]
            rows = [row for row in decoded if row is not _BROKEN]
            lost["lines that are no JSON"] += len(decoded) - len(rows)
        yield from _cut(rows)


def _cut(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(rows), _PIECE):
        yield rows[begin : begin + _PIECE]


def _decoded_pieces(rows: Sequence[msgspec.Raw]) -> Iterator[list[Any]]:
    """Yield rows decoded piece by piece, so that few of them are Python objects at a time."""
    for piece in _cut(rows):
        yield msgspec.json.decode(b"[" + b",".join(map(bytes, piece)) + b"]")


def _peel(sought: _Sought, raw: msgspec.Raw, says: dict[str, str], depth: int) -> _Found:
    """Find the rows inside the layers of a document."""
    if depth > _DEEPEST:
        raise BadInput(
            f"{sought.path} has its rows too deep inside: write them as a list of records"
        )
    begin = bytes(memoryview(raw)[:64]).lstrip()
    if begin.startswith(b'"'):  # a document that was encoded twice
        inner = msgspec.json.decode(raw, type=str).encode()
        return _peel(sought, msgspec.Raw(inner), says, depth + 1)
    if begin.startswith(b"["):
        return _listed(sought, msgspec.json.decode(raw, type=list[msgspec.Raw]), says, depth)
    layer = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    tables = {k: v for k, v in layer.items() if bytes(memoryview(v)[:1]) in {b"[", b"{"}}
    if beside := _beside(tables):
        return _split(*beside, tables, says)
    if {"schema", "data"} <= tables.keys():  # pandas' orientation `table`
        return _peel(sought, tables["data"], says, depth + 1)
    fields = {k: msgspec.json.decode(v) for k, v in layer.items() if k not in tables}
    says = says | _said(fields)
    if any(keys <= {key.lower() for key in layer} for keys in CANDLE) or _are_rates(tables):
        return _by_column(sought.path, tables, says) if tables else _Found([[fields]], None, says)
    if _is_message(layer, fields):
        return _Found([[msgspec.json.decode(raw)]], None, {})
    return _wrapped(sought, tables, says, depth)


def _listed(
    sought: _Sought, rows: Sequence[msgspec.Raw], says: dict[str, str], depth: int
) -> _Found:
    """Find the rows of a list: its elements, or lists that its objects hold for a coin each."""
    lists: dict[str, msgspec.Raw] = {}
    for raw in rows if len(rows) <= _MOST_LISTS else ():
        if bytes(memoryview(raw)[:1]) != b"{":
            break
        layer = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        inside = [value for value in layer.values() if _LISTS.match(memoryview(value)[:64])]
        if len(rows) == 1 and any(bytes(memoryview(v)[:1]) == b"[" for v in layer.values()):
            return _peel(sought, raw, says, depth + 1)
        coins = [msgspec.json.decode(v) for key, v in layer.items() if folded(key) in COINS]
        if len(inside) != 1 or len(coins) != 1 or coins[0] in lists:
            break
        lists[str(coins[0])] = inside[0]
    if len(lists) == len(rows) > 1:
        return _wrapped(sought, lists, says, depth)
    return _Found(_decoded_pieces(rows), None, says)


def _are_rates(tables: Layer) -> bool:
    """Return whether a document has its rates by column, as pandas writes them."""
    if len(tables) < 2 or not any("rate" in key.lower() for key in tables):  # noqa: PLR2004
        return False
    for value in tables.values():
        held = msgspec.json.decode(value)
        cells = held.values() if isinstance(held, dict) else held
        if not cells or any(isinstance(cell, dict | list) for cell in cells):
            return False
    return True


def _said(fields: Mapping[str, Any]) -> dict[str, str]:
    return {k: str(v) for k, v in fields.items() if str(v).lower() not in _STATUS}


def _is_message(layer: Layer, fields: Mapping[str, Any]) -> bool:
    return not layer.keys().isdisjoint({"channel", "stream", "topic"}) or "e" in fields


def _beside(tables: Layer) -> tuple[list[str], list[msgspec.Raw]] | None:
    """Return names of columns and the rows that stand beside them; None if there are none such.

    Pandas calls it the orientation `split`, and databases write it.
    """
    heads, rows = ([tables[key] for key in keys if key in tables] for keys in (_HEADS, _ROWS))
    if not heads or not rows or {bytes(memoryview(v)[:1]) for v in (heads[0], rows[0])} != {b"["}:
        return None
    said = msgspec.json.decode(heads[0])
    if all(isinstance(each, dict) and "name" in each for each in said):
        said = [each["name"] for each in said]
    # Those of several levels are lists.
    names = [" ".join(map(str, each)) if isinstance(each, list) else str(each) for each in said]
    found = msgspec.json.decode(rows[0], type=list[msgspec.Raw])
    first = msgspec.json.decode(found[0]) if found else None
    is_row = isinstance(first, dict) or (isinstance(first, list) and len(first) == len(names))
    return (names, found) if is_row and names else None


def _split(
    names: list[str], rows: list[msgspec.Raw], tables: Layer, says: dict[str, str]
) -> _Found:
    """Read rows with the names beside them, and the index that pandas writes for them."""
    index = msgspec.json.decode(tables["index"]) if "index" in tables else []
    if len(index) != len(rows):
        return _Found(_decoded_pieces(rows), names, says)

    def indexed() -> Iterator[list[Any]]:
        begin = 0
        for piece in _decoded_pieces(rows):
            keys = index[begin : begin + len(piece)]
            yield [[*row, key] for row, key in zip(piece, keys, strict=True)]
            begin += len(piece)

    return _Found(indexed(), [*names, ""], says)


def _by_column(path: Path, tables: Layer, says: dict[str, str]) -> _Found:
    """Read lists, or objects by the index of a row, under the names of columns."""
    fields = {key: msgspec.json.decode(value) for key, value in tables.items()}
    lists = {key: value for key, value in fields.items() if isinstance(value, list)}
    if lists:
        lengths = sorted({len(value) for value in lists.values()})
        if len(lengths) > 1:
            raise BadInput(f"{path} has columns of {' and '.join(map(str, lengths))} values")
        rows = list(map(list, zip(*lists.values(), strict=True)))
        return _Found(_cut(rows), list(lists), says)
    keys = list(dict.fromkeys(key for value in fields.values() for key in value))
    rows = [[*(value.get(key) for value in fields.values()), key] for key in keys]
    return _Found(_cut(rows), [*fields, ""], says)


def _wrapped(sought: _Sought, tables: Layer, says: dict[str, str], depth: int) -> _Found:
    """Read what an answer of a service has under one of its keys, or records by their index."""
    found: dict[str, msgspec.Raw] = {}
    records = []
    for key, value in tables.items():
        if bytes(memoryview(value)[:1]) == b"[":
            if bytes(value).strip(b"[] \r\n\t"):
                found[key] = value
            continue
        fields = msgspec.json.decode(value)
        if any(isinstance(each, dict | list) for each in fields.values()):
            found[key] = value
        elif is_row(fields):
            records.append({**fields, "": key})
        else:
            says = says | _said(fields)  # what an answer says of itself
    if records and not found:
        return _Found(_cut(records), None, says)
    if len(found) > 1 and not records:
        found = _of_wanted(sought, found)
    if len(found) != 1 or records:
        keys = ", ".join(list(found)[:8])
        held = f"several tables ({keys})" if found else "nothing that is a table"
        raise BadInput(f"{sought.path} holds {held}: write one list of records")
    ((key, value),) = found.items()
    keys = f"{says.get('', '')} {key}".strip()  # one of them may name a coin
    return _peel(sought, value, says | {"": keys}, depth + 1)


def _of_wanted(sought: _Sought, tables: Layer) -> dict[str, msgspec.Raw]:
    """Return the table whose key names the wanted coin or interval; all if the keys name neither.

    Raises:
        BadInput: If they name other coins.
    """
    coin, wanted_ms = sought.wanted.coin, sought.wanted.interval_ms
    parts = {key: found.groups() for key in tables if (found := _KEY.fullmatch(key))}
    keys = [key for key, (named, _) in parts.items() if coin and is_coin(named, coin)]
    if not keys and coin and all(looks_like_coin(named) for named, _ in parts.values()):
        others = ", ".join(list(tables)[:8])
        raise BadInput(f"{sought.path} is of {others}, not {coin}")
    if len(keys) != 1 and wanted_ms is not None:
        meant = {key: interval_ms(parts[key][1] or key) for key in keys or parts}
        target = longest_part(meant, wanted_ms) if all(meant.values()) else None
        keys = [key for key in meant if target in meant[key]] or keys
    if len(keys) == 1:
        sought.notes.append(f"of {len(tables)} tables the one of {keys[0]}")
    return {key: tables[key] for key in keys or tables}
