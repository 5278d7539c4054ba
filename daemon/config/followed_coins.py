"""Keep on disk which coins each `coin = "*"` stands for, so that a start needs no answer for it.

The daemon chooses them (`daemon/service/coin_choice.py`) and writes them; every command reads
them with the configuration.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from daemon.core.atomic_files import Files

NAME: Final = "followed-coins.json"

Followed = Mapping[str, tuple[str, ...]]
"""The intervals of an entry, such as `5m 1h` -> its coins."""


def read_followed(data_dir: Path) -> Followed:
    """Return the coins that were chosen last; none if they were not yet, or cannot be read."""
    try:
        text = (data_dir / NAME).read_bytes()
        return msgspec.json.decode(text, type=dict[str, tuple[str, ...]])
    except (OSError, msgspec.DecodeError):  # the daemon chooses them anew
        return {}


def write_followed(data_dir: Path, coins: Followed) -> None:
    """Write down which coins were chosen.

    Raises:
        OSError: If the folder cannot be written.
    """
    Files().replace(data_dir / NAME, msgspec.json.encode(coins))
