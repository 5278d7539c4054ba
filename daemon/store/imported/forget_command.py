"""Write the command that takes an import back, as a person can run it."""

import shlex
from pathlib import Path

from daemon.store.imported.sources import BARS
from hyperdrift.slot_name import SlotName


def forget_command(slot: SlotName, kind: str, source: str, config: Path | str | None = None) -> str:
    """Return the whole command.

    Args:
        slot: The slot of the import.
        kind: `bars` or `funding`.
        source: The name of the import.
        config: The configuration, if it is not the default one.
    """
    words = ["hyperdrift", "bars", "forget", "--coin", slot.coin]
    words += ["--interval", slot.interval] if kind == BARS else ["--kind", kind]
    words += ["--source", source] + (["--config", str(config)] if config else [])
    return shlex.join(words)


def forget_span_command(slot: SlotName, t: int) -> str:
    """Return the command that forgets whatever cannot be right at an open time, ms UTC."""
    words = ["hyperdrift", "bars", "forget", "--coin", slot.coin, "--interval", slot.interval]
    return shlex.join([*words, "--from", str(t), "--to", str(t)])
