"""Read tables from JSON: arrays, objects, lines, pandas' orientations and sockets' messages."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from daemon.ingest.tables.containers import Content, as_utf8
from daemon.ingest.tables.identity import interval_ms, looks_like_coin
from daemon.ingest.tables.json_columns import CANDLE, ColumnMaker, is_row
from daemon.ingest.tables.reading import RawTable, reasons_text
from hyperdrift.errors import BadInput

_PIECE: Final = 20_000  # rows that are Python objects at a time
_PIECE_BYTES: Final = 1 << 22
_DEEPEST: Final = 6
# A status in the place of a name, as chart sites answer.
_STATUS: Final = frozenset({"ok", "success", "true", "false", ""})
_BROKEN: Final = object()
_BETWEEN: Final = re.compile(r"[\s,]*")
_decode_lines: Final = msgspec.json.Decoder().decode_lines

Layer = Mapping[str, msgspec.Raw]


class _Found(NamedTuple):
    """Pieces of rows, their names if they are lists, and what a document says of all of them."""

    pieces: Iterable[Sequence[Any]]
    names: list[str] | None
    says: dict[str, str]


def read_json(path: Path, content: Content) -> RawTable:
    """Read a table from JSON or JSON lines, numbers exact to the last bit.

    Raises:
        BadInput: If the text is no JSON, or holds no table or several.
    """
    lost: Counter[str] = Counter()
    try:
        found = _found(path, as_utf8(content).read(), lost)
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
        raise BadInput(f"{path} has no rows of a table: {reasons_text(lost) or 'it is empty'}")
    table = RawTable(str(path), names, columns, header=maker.named, says=found.says, lost=lost)
    table.states = maker.states
    return table


def _found(path: Path, data: bytes, lost: Counter[str]) -> _Found:
    """Return the rows of one document, or of lines of documents."""
    try:
        return _peel(path, msgspec.Raw(data), {}, 0)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        first = data.partition(b"\n")[0].strip()
        if len(first) < len(data.strip()) and _decoded(first) is not _BROKEN:
            return _Found(_lines(data, lost), None, {})
        value = _decoded(data)
        if value is _BROKEN and (rows := _documents(data)):
            return _Found(_cut(rows), None, {})
        if value is _BROKEN:
            why = f"it is no JSON ({error}): fetch or write it again"
            raise BadInput(f"{path} cannot be read: {why}") from error
        return _peel(path, msgspec.Raw(json.dumps(value).encode()), {}, 0)


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


def _peel(path: Path, raw: msgspec.Raw, says: dict[str, str], depth: int) -> _Found:
    """Find the rows inside the layers of a document."""
    if depth > _DEEPEST:
        raise BadInput(f"{path} has its rows too deep inside: write them as a list of records")
    begin = bytes(memoryview(raw)[:64]).lstrip()
    if begin.startswith(b'"'):  # a document that was encoded twice
        inner = msgspec.json.decode(raw, type=str).encode()
        return _peel(path, msgspec.Raw(inner), says, depth + 1)
    if begin.startswith(b"["):
        rows = msgspec.json.decode(raw, type=list[msgspec.Raw])
        return _Found(_decoded_pieces(rows), None, says)
    layer = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    tables = {k: v for k, v in layer.items() if bytes(memoryview(v)[:1]) in {b"[", b"{"}}
    if {"columns", "data"} <= tables.keys():
        return _split(tables, says)
    if {"schema", "data"} <= tables.keys():  # pandas' orientation `table`
        return _peel(path, tables["data"], says, depth + 1)
    fields = {k: msgspec.json.decode(v) for k, v in layer.items() if k not in tables}
    says = says | _said(fields)
    if any(keys <= {key.lower() for key in layer} for keys in CANDLE) or _are_rates(tables):
        return _by_column(path, tables, says) if tables else _Found([[fields]], None, says)
    if _is_message(layer, fields):
        return _Found([[msgspec.json.decode(raw)]], None, {})
    return _wrapped(path, tables, says, depth)


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


def _split(tables: Layer, says: dict[str, str]) -> _Found:
    """Read what pandas calls the orientation `split`."""
    names = [str(name) for name in msgspec.json.decode(tables["columns"])]
    rows = msgspec.json.decode(tables["data"], type=list[msgspec.Raw])
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


def _wrapped(path: Path, tables: Layer, says: dict[str, str], depth: int) -> _Found:
    """Read what an answer of a service has under one of its keys, or records by their index."""
    found, records = {}, []
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
    if len(found) > 1 and not records and (rows := _rows_by_key(found)):
        return _Found(_cut(rows), None, says)
    if len(found) != 1 or records:
        keys = ", ".join(list(found)[:8])
        held = f"several tables ({keys})" if found else "nothing that is a table"
        raise BadInput(f"{path} holds {held}: write one list of records")
    ((key, value),) = found.items()
    keys = f"{says.get('', '')} {key}".strip()  # one of them may name a coin
    return _peel(path, value, says | {"": keys}, depth + 1)


def _rows_by_key(tables: Layer) -> list[Any]:
    """Return the records of several lists with the coin or interval that their keys name.

    [] if the keys name neither, or the lists hold no records.
    """
    if all(len(interval_ms(key)) == 1 for key in tables):
        role = "interval"
    elif all(map(looks_like_coin, tables)):
        role = "coin"
    else:
        return []
    lists = {key: msgspec.json.decode(value) for key, value in tables.items()}
    rows = [(key, row) for key, value in lists.items() for row in value]
    if not all(isinstance(row, dict) for _, row in rows):
        return []
    return [{role: key} | row for key, row in rows]
