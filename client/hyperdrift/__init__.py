"""The bot's side of a hot swap, and the contract that bot and daemon share."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperdrift.blocking import BlockingModelSlot
    from hyperdrift.pointer import PointerSlot
    from hyperdrift.slot import ModelSlot

__all__ = ["BlockingModelSlot", "ModelSlot", "PointerSlot"]

_HOMES = {
    "BlockingModelSlot": "hyperdrift.blocking",
    "ModelSlot": "hyperdrift.slot",
    "PointerSlot": "hyperdrift.pointer",
}


def __getattr__(name: str) -> Any:
    """Import a slot when it is asked for: a bot that watches files needs no MQTT client."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
