"""Check a bot's message before it is sent: what the daemon cannot read, only its log tells of."""

from typing import TypeVar

from hyperdrift.errors import BadInput
from hyperdrift.mqtt.messages import Message, decode, encode

M = TypeVar("M", bound=Message)


def readable(message: M) -> M:
    """Return a message with plain values, as the daemon reads it.

    Raises:
        BadInput: If the daemon cannot read it.
    """
    try:
        payload = encode(message)
    except TypeError as e:
        raise BadInput(f"{type(message).__name__}: {e}") from e
    try:
        return decode(payload, type(message))
    except BadInput as e:
        raise BadInput(f"{type(message).__name__}: {e}") from e
