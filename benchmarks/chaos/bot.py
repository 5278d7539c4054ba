"""The reference paper bot, which also writes each answered bar to a file on the disk.

python -m benchmarks.chaos.bot DIARY [options of daemon.demo.bot]
"""

import os
import sys
import time
from collections.abc import Sequence

from daemon.demo import bot
from hyperdrift.slot import ModelSlot, Prediction

DIARY = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def note(text: str) -> None:
    os.write(DIARY, f"{time.time():.3f} {text}\n".encode())


class NotedSlot(ModelSlot):
    """A slot that writes each answer to the file before it publishes it."""

    def publish_prediction(
        self, t: int, prediction: Prediction, features: Sequence[float] | None = None
    ) -> None:
        note(f"{t} {prediction.model_id}")
        super().publish_prediction(t, prediction, features)


if __name__ == "__main__":
    note("0 born")
    bot.ModelSlot = NotedSlot  # type: ignore[misc]
    bot.main(sys.argv[2:])
