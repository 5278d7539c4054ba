"""The bot's side of a hot swap, and the contract that bot and daemon share.

    from hyperdrift import ModelSlot

Each name is imported on first use. So a bot that watches files needs no MQTT client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperdrift.blocking import BlockingModelSlot, open_slot
    from hyperdrift.errors import BadFeatures, ConfigError, HyperdriftError, NoModel, VersionRefused
    from hyperdrift.live_model import Prediction
    from hyperdrift.mqtt.messages import TradeReport
    from hyperdrift.pointer import PointerSlot
    from hyperdrift.slot import ModelSlot

__all__ = [
    "BadFeatures",
    "BlockingModelSlot",
    "ConfigError",
    "HyperdriftError",
    "ModelSlot",
    "NoModel",
    "PointerSlot",
    "Prediction",
    "TradeReport",
    "VersionRefused",
    "open_slot",
]

_HOMES = {
    "BadFeatures": "errors",
    "BlockingModelSlot": "blocking",
    "ConfigError": "errors",
    "HyperdriftError": "errors",
    "ModelSlot": "slot",
    "NoModel": "errors",
    "PointerSlot": "pointer",
    "Prediction": "live_model",
    "TradeReport": "mqtt.messages",
    "VersionRefused": "errors",
    "open_slot": "blocking",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"hyperdrift.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
