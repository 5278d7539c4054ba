"""Turn decoded JSON rows into columns, piece by piece."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_LAYERS: Final = ("data", "k", "candle", "kline", "candles", "delta")
_DEEPEST: Final = 4
CANDLE: Final = ({"o", "h", "l", "c"}, {"open", "high", "low", "close"})
_VENUE: Final = frozenset({"t", "T", "s", "i", "o", "c", "h", "l", "v", "n"})
_OTHER: Final = "messages of other kinds"
_NO_ROWS: Final = "that are no records"

Row = dict[str, Any]


class ColumnMaker:
    """Collects rows, objects or lists, as columns of Arrow arrays.

    Attributes:
        named: Whether rows have names.
        states: Whether rows are states of bars as a socket pushes them.
        lost: Rows that are none, by reason.
    """

    def __init__(self, names: Sequence[str] | None) -> None:
        self._names = list(names) if names is not None else None
        self._pieces: list[dict[str, Any]] = []
        self._lengths: list[int] = []
        self.named = names is not None
        self.states = False
        self.lost: Counter[str] = Counter()

    def add(self, piece: Sequence[Any]) -> None:
        """Take decoded rows."""
        if all(isinstance(row, list) for row in piece):
            self._add_lists(piece)
            return
        rows = piece if _are_flat(piece) else [row for each in piece for row in self._rows(each)]
        self.named = True
        self.states |= bool(rows) and rows[0].keys() >= _VENUE
        names = list(dict.fromkeys(name for row in rows for name in row))
        self._keep({name: [row.get(name) for row in rows] for name in names}, len(rows))

    def finished(self) -> tuple[list[str], list[Any]]:
        """Return the names of all columns, and their Arrow arrays."""
        names = list(dict.fromkeys(name for piece in self._pieces for name in piece))
        return names, [self._joined(name) for name in names]

    def _add_lists(self, rows: Sequence[list[Any]]) -> None:
        if rows and rows[0] and isinstance(rows[0][0], list | dict):  # pages of rows
            self.add([row for each in rows for row in each])
            return
        if self._names is None and rows and _is_header(rows[0]):
            self._names, self.named, rows = rows[0], True, rows[1:]
        if self._names is None and rows:
            self._names = [str(number + 1) for number in range(len(rows[0]))]
        names = self._names or []
        whole = [row for row in rows if len(row) == len(names)]
        if len(whole) < len(rows):
            self.lost[f"with another number of values than {len(names)}"] += len(rows) - len(whole)
        columns = dict(zip(names, map(list, zip(*whole, strict=True)), strict=False))
        self._keep(columns, len(whole))

    def _rows(self, value: Any, depth: int = 0) -> list[Row]:
        """Return the rows that an element holds: itself, or what a message carries."""
        if isinstance(value, list) and depth <= _DEEPEST:
            return [row for each in value for row in self._rows(each, depth + 1)]
        if not isinstance(value, dict) or depth > _DEEPEST:
            self.lost[_NO_ROWS] += 1
            return []
        if (carried := _carried(value)) is not None:
            self.states = True
            if carried:
                return self._rows(carried, depth + 1)
            self.lost[_OTHER] += 1
            return []
        value = {key: _unwrapped(each) for key, each in value.items()}
        flat = {k: v for k, v in value.items() if not isinstance(v, dict | list)}
        if len(flat) == len(value) or is_row(flat):
            return [flat]  # perhaps with something more inside, as ccxt's `info`
        inner: Any = next(_inside(value), [])
        if not inner and len(flat) > 1:
            return [flat]
        rows = self._rows(inner, depth + 1)
        self.lost[_NO_ROWS] += not rows
        if isinstance(inner, dict) and _carried(inner) is not None:
            return rows  # a message says all of itself; around it stands when it came
        return [flat | row for row in rows]

    def _keep(self, columns: Mapping[str, list[Any]], length: int) -> None:
        if length:
            self._pieces.append({name: _array(values) for name, values in columns.items()})
            self._lengths.append(length)

    def _joined(self, name: str) -> Any:
        import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it

        pieces = [
            piece[name] if name in piece else pa.nulls(length)
            for piece, length in zip(self._pieces, self._lengths, strict=True)
        ]
        kinds = {piece.type for piece in pieces} - {pa.null()}
        if kinds == {pa.int64(), pa.float64()}:
            kinds = {pa.float64()}
        if len(kinds) > 1:
            kinds = {pa.string()}
            pieces = [_as_text(piece.to_pylist()) for piece in pieces]
        kind = next(iter(kinds), pa.null())
        return pa.chunked_array([piece.cast(kind) for piece in pieces], type=kind)


def _unwrapped(value: Any) -> Any:
    """Return the value that MongoDB wraps in its type: `{"$date": ...}`."""
    while isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$"):
        (value,) = value.values()
    return value


def _inside(value: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what may be the rows inside an object, the most likely first."""
    yield from (value[key] for key in _LAYERS if isinstance(value.get(key), dict | list))
    objects = [each for each in value.values() if isinstance(each, dict)]
    yield from (each for each in objects if "channel" in each or is_row(each))


def is_row(fields: Mapping[str, Any]) -> bool:
    """Return whether fields are a candle or a rate, by their names."""
    names = {str(key).lower().rpartition(". ")[2] for key in fields}
    return any(keys <= names for keys in CANDLE) or any("rate" in name for name in names)


def _are_flat(piece: Sequence[Any]) -> bool:
    """Return whether elements are candles or rates themselves, with nothing inside."""
    kinds = {type(value) for each in piece if isinstance(each, dict) for value in each.values()}
    return kinds.isdisjoint({dict, list}) and all(
        isinstance(each, dict) and "channel" not in each and "e" not in each for each in piece
    )


def _carried(message: Mapping[str, Any]) -> Any:
    """Return what a socket's message carries: its candles, or [] if it is of another kind.

    None if this is no message.
    """
    if "channel" in message:
        return message.get("data") or [] if message["channel"] == "candle" else []
    if isinstance(message.get("stream"), str):
        return message.get("data") or []
    if message.get("e") is not None and not is_row(message):
        return message.get("k") or [] if message["e"] == "kline" else []
    topic = message.get("topic")
    if isinstance(topic, str):
        rows = message.get("data") if topic.startswith("kline.") else None
        said = {"symbol": topic.rpartition(".")[2]}
        return [said | row for row in rows if isinstance(row, dict)] if rows else []
    return None


def _is_header(cells: Sequence[Any]) -> bool:
    return bool(cells) and all(
        isinstance(cell, str) and not any(map(str.isdigit, cell)) for cell in cells
    )


def _array(values: list[Any]) -> Any:
    """Return values of one column as an Arrow array: whole numbers, numbers, text or truth."""
    import pyarrow as pa  # noqa: PLC0415 - see _joined

    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
        return _as_text(values)
    plain = {pa.int64(), pa.float64(), pa.string(), pa.bool_(), pa.null()}
    return array if array.type in plain else _as_text(values)


def _as_text(values: list[Any]) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - see _joined

    return pa.array([None if v is None else _text(v) for v in values], pa.string())


def _text(value: Any) -> str:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else repr(value)
