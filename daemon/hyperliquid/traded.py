"""Read how much of each perp was traded in 24 hours from a `metaAndAssetCtxs` answer."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from daemon.core.errors import SchemaChanged
from daemon.core.outside_text import decode_json, printable
from hyperdrift.errors import BadInput

_WHAT = "metaAndAssetCtxs"


class Traded(NamedTuple):
    """The perps of the venue: US dollars of each in 24 hours, None if unreadable; the delisted."""

    usd: Mapping[str, float | None]
    delisted: frozenset[str]


class _Meta(msgspec.Struct):
    universe: list[dict[str, Any]]


class _Answer(msgspec.Struct, array_like=True):
    meta: _Meta
    contexts: list[Any]


def read_traded(body: bytes) -> Traded:
    """Read the answer; its two lists belong together by position.

    Raises:
        SchemaChanged: If it has another shape, or lists no coins.
    """
    try:
        answer = decode_json(body, _Answer)
    except BadInput as e:
        raise SchemaChanged(f"the venue's {_WHAT} has another shape: {e}", _WHAT) from e
    coins, contexts = answer.meta.universe, answer.contexts
    if not coins or len(coins) != len(contexts):
        text = f"{len(coins)} coins and {len(contexts)} contexts: {printable(body)}"
        raise SchemaChanged(f"the venue's {_WHAT} has {text}", _WHAT)
    usd: dict[str, float | None] = {}
    delisted = set()
    for coin, context in zip(coins, contexts, strict=True):
        name = coin.get("name")
        if not isinstance(name, str) or not name:
            continue
        if coin.get("isDelisted") is True:
            delisted.add(name)
        else:
            usd[name] = _volume(context)
    return Traded(usd, frozenset(delisted))


def _volume(context: object) -> float | None:
    text = context.get("dayNtlVlm") if isinstance(context, dict) else None
    try:
        volume = float(text) if isinstance(text, str | int | float) else math.nan
    except ValueError:
        return None
    return volume if math.isfinite(volume) and volume >= 0 else None
