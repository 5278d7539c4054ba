"""Take records out of JSON as it arrives: lines, arrays, and objects around arrays.

A file may be one array of 500 MB, or a line that is half written. So no value is decoded that
is larger than a record: what is larger is entered, element by element.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

_DECODER: Final = json.JSONDecoder()
# An object that is longer is no record but something around records, characters.
_LARGEST: Final = 1 << 18
_DEEPEST: Final = 32
_BETWEEN: Final = re.compile(r"[\s,:\0\ufeff]*")
_SCALAR: Final = re.compile(r"[-+.\w]*")
_MOST_LAYERS: Final = 4  # around trades, in an object
_NO_RECORD: Final = "it is a value without a name, no record"
# An error so near the end may only mean that the rest has not come, characters.
_NEAR: Final = 12
# The keys under which other programs keep their records, and those that lead to them.
_RECORDS: Final = frozenset(
    {"trades", "fills", "data", "result", "rows", "closed_trades", "fill", "trade"}
)
# A key over trades that is written so is their coin.
_COIN: Final = re.compile(r"(?=.*[A-Z])k?[A-Z0-9]+([-/:][A-Z0-9]+)*")
_NO_COINS: Final = _RECORDS | {"history", "closed", "long", "short", "buy", "sell", "all"}
_ON_THE_WAY: Final = frozenset({"strategy"})
# The channels of the venue's stream that carry fills.
_CHANNELS: Final = frozenset({"userFills", "user", "userEvents"})


IsTrade = Callable[[dict[str, Any]], bool]


class JsonBad(NamedTuple):
    """Text that is no record, shortened, and why."""

    text: str
    why: str = "it is no JSON"
    remedy: str = ": write whole objects, as json.dumps does"


class JsonStream:
    """Finds the records in text that comes in pieces.

    Args:
        is_trade: Whether an object is a trade or a fill, under whatever key it stands.

    Attributes:
        passed_over: The first object under a key that leads to no trades, "" if there was none,
            or if there were records.
    """

    def __init__(self, is_trade: IsTrade) -> None:
        self._is_trade = is_trade
        self.passed_over, self._has_records = "", False
        self._places = set(_RECORDS)  # keys that records stand under
        self._text, self._at = "", 0
        self._skipping = False
        self._open: list[tuple[str, str]] = []  # bracket, and the key that it stands under
        self._key: str | None = None

    @property
    def waits(self) -> bool:
        """Whether a value has begun and not ended."""
        return bool(self._text[self._at :].strip(" \n,:\0\ufeff"))

    def feed(self, text: str) -> Iterator[dict[str, Any] | JsonBad]:
        """Take more text; yield what is complete."""
        self._text, self._at = self._text[self._at :] + text, 0
        while True:
            if self._skipping and not self._skip_line():
                return
            was = self._at
            yield from self._step()
            if self._at == was and not self._skipping:
                return

    def end(self) -> Iterator[dict[str, Any] | JsonBad]:
        """Take the end of the text; what is incomplete is bad."""
        yield from self.feed("\n")
        if rest := self._text[self._at :].strip():
            yield JsonBad(rest[:200])
        self.__init__(self._is_trade)  # type: ignore[misc]  # as new

    def _step(self) -> Iterator[dict[str, Any] | JsonBad]:
        """Take the next value or bracket; leave the position if more text is needed."""
        between = _BETWEEN.match(self._text, self._at)
        start = between.end() if between else self._at
        if start >= len(self._text):
            self._at = start
            return
        char, inside = self._text[start], self._open[-1][0] if self._open else ""
        if inside == "{" and self._key is None and char != "}":
            yield from self._take_key(start)
        elif char == "[" and len(self._open) < _DEEPEST:
            self._enter("[", start)
        elif char == "{":
            yield from self._take_object(start)
        elif char in "]}" and inside and ("[{".index(inside) == "]}".index(char)):
            self._open.pop()
            self._at, self._key = start + 1, None
        elif inside and char not in "[]}":
            yield from self._take_scalar(start)
        else:
            if len(self._open) >= _DEEPEST:
                self._open.clear()
            yield from self._refuse(start)

    def _enter(self, bracket: str, start: int) -> None:
        under = self._key or (self._open[-1][1] if self._open else "")
        self._open.append((bracket, under))
        self._at, self._key = start + 1, None

    def _take_key(self, start: int) -> Iterator[JsonBad]:
        value, end = self._decoded(start)
        if end > 0 and isinstance(value, str):
            self._at, self._key = end, value
        elif end or len(self._text) - start > _LARGEST:
            yield from self._refuse(start)

    def _take_object(self, start: int) -> Iterator[dict[str, Any] | JsonBad]:
        value, end = self._decoded(start)
        if end > 0:
            under = self._key or (self._open[-1][1] if self._open else "")
            is_place = not under or under in self._places
            records = list(_records(value, self._is_trade, is_place=is_place))
            if records and self._key is None:  # it stands in a list
                self._places.add(under)
                records = [_of_coin(each, under) for each in records]
            self._has_records |= bool(records)
            if self._has_records or (under and under not in _RECORDS and not self.passed_over):
                self.passed_over = "" if self._has_records else self._text[start:end][:200]
            self._at, self._key = end, None
            yield from records
        elif end < 0:
            yield from self._refuse(start)
        elif len(self._text) - start > _LARGEST:
            if len(self._open) < _DEEPEST:
                self._enter("{", start)
            else:
                yield from self._refuse(start)

    def _take_scalar(self, start: int) -> Iterator[JsonBad]:
        """Pass over a value that is no record; in a list of records it is a bad one."""
        value, end = self._decoded(start)
        word = _SCALAR.match(self._text, start)
        if end < 0 or (not end and len(self._text) - start > _LARGEST):
            yield from self._refuse(start)
        elif end and not (word and word.end() == len(self._text)):  # a number may go on
            bracket, under = self._open[-1]
            is_address = isinstance(value, str) and value.startswith("0x")
            if bracket == "[" and not is_address and (not under or under in _RECORDS):
                yield JsonBad(self._text[start : min(end, start + 200)], _NO_RECORD)
            self._at, self._key = end, None

    def _decoded(self, start: int) -> tuple[Any, int]:
        """Decode the value at a position; its end is 0 if text is missing, -1 if it is bad."""
        try:
            return _DECODER.raw_decode(self._text, start)
        except json.JSONDecodeError as e:
            missing = e.msg.startswith("Unterminated") or e.pos >= len(self._text) - _NEAR
            return None, 0 if missing else -1
        except (ValueError, RecursionError):  # a number of a million digits, or endless nesting
            return None, -1

    def _refuse(self, start: int) -> Iterator[JsonBad]:
        yield JsonBad(self._text[start : start + 200].partition("\n")[0])
        self._at, self._skipping = start, True

    def _skip_line(self) -> bool:
        """Go to the next line; False if it has not come yet."""
        at = self._text.find("\n", self._at)
        self._skipping = at < 0
        self._at = len(self._text) if at < 0 else at + 1
        return at >= 0


def _records(
    value: Any, is_trade: IsTrade, *, is_place: bool
) -> Iterator[dict[str, Any] | JsonBad]:
    """Yield the records in a decoded object, which may be one itself.

    Args:
        value: The object.
        is_trade: Whether an object is a trade or a fill.
        is_place: Whether it stands where records do, so that it is one, if a bad one.
    """
    channel = value.get("channel")
    if isinstance(channel, str) and channel not in _CHANNELS and "data" in value:
        return  # another message of the venue's stream
    inner = [
        (key, value[key])
        for key in value
        if key in _RECORDS | _ON_THE_WAY and isinstance(value[key], (dict, list))
    ]
    if "px" in value or "price" in value or not inner or is_trade(value):
        yield from _one_or_inner(value, is_trade, is_place=is_place)
        return
    user = value.get("user")
    for key, held in inner:
        for found in _held(held, key, is_trade):
            if isinstance(user, str) and isinstance(found, dict):
                yield {"user": user, **found}
            else:
                yield found


def _held(held: Any, key: str, is_trade: IsTrade) -> Iterator[dict[str, Any] | JsonBad]:
    """Yield the records that an object has under a known key."""
    if key in _ON_THE_WAY:
        held = list(held.values()) if isinstance(held, dict) else []
    for each in held if isinstance(held, list) else [held]:
        objects = [one for one in each if isinstance(one, dict)] if isinstance(each, list) else []
        if isinstance(each, dict):
            yield from _records(each, is_trade, is_place=True)
        elif objects:
            yield from objects
        else:
            yield JsonBad(repr(each)[:200], _NO_RECORD)


def _one_or_inner(
    value: dict[str, Any], is_trade: IsTrade, *, is_place: bool
) -> Iterator[dict[str, Any]]:
    """Yield an object without known keys, or the trades in it, under whatever key they stand."""
    has_more = any(isinstance(each, dict | list) for each in value.values())
    if has_more and not is_trade(value) and (inner := list(_trades_in(value, is_trade))):
        yield from inner
    elif (is_place and value.get("channel") != "pong") or (not is_place and is_trade(value)):
        yield value


def _trades_in(value: Any, is_trade: IsTrade, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield trades, and of a list with trades all records, so that a bad one is told of."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(each, dict) and is_trade(each):
            yield each
        elif isinstance(each, list) and any(
            isinstance(one, dict) and is_trade(one) for one in each
        ):
            yield from (_of_coin(one, key) for one in each if isinstance(one, dict))
        elif isinstance(each, dict | list) and depth < _MOST_LAYERS:
            yield from _trades_in(each, is_trade, depth + 1)


def _of_coin(record: Any, key: object) -> Any:
    """Return a record with the coin of the key that its list stands under, if that is one."""
    is_coin = isinstance(key, str) and _COIN.fullmatch(key) and key.casefold() not in _NO_COINS
    return {"coin": key, **record} if is_coin and isinstance(record, dict) else record
