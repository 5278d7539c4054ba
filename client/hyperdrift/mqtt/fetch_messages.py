"""The messages by which a bot without the models folder gets a version from the daemon.

The bot asks for one piece after the other. It compares the whole file with the digest of the
swap order, so it need not trust what it gets.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from hyperdrift.mqtt.messages import Longest, Message, Within

# One piece delays whatever is published after it by some ms, also on a slow line.
PIECE: Final = 65_536
# A model file has at most 64 MiB.
LARGEST: Final = 256 * 2**20

Digest = Annotated[str, Longest(64)]
Size = Annotated[int, Within(0, LARGEST)]


@dataclass(frozen=True, kw_only=True)
class FetchRequest(Message):
    """`<slot>/bot/<bot_id>/fetch`: the bot asks for a piece of a file.

    Attributes:
        sha256: Digest of the file, in hex, as in the newest swap order of the slot.
        offset: First byte of the piece.
    """

    sha256: Digest
    offset: Size = 0


@dataclass(frozen=True, kw_only=True)
class FilePiece(Message):
    """`<slot>/bot/<bot_id>/piece`: the answer to a request, at most 64 KiB of the file.

    Attributes:
        sha256: Digest of the file, as asked.
        offset: First byte of the piece, as asked.
        size: Length of the whole file, bytes.
        data: The bytes, in base64.
        error: Why there is no piece; empty if there is one.
    """

    sha256: Digest
    offset: Size = 0
    size: Size = 0
    data: Annotated[str, Longest(2 * PIECE)] = ""
    error: Annotated[str, Longest(1000)] = ""
