"""Feature classes as a bot might have them, written into a folder to be imported from there."""

from pathlib import Path

SOURCE = '''
from math import log


class Honest:
    """Remembers a little: the close before, and a fading mean of the volume."""

    def __init__(self, columns):
        self.columns, self.last, self.mean = list(columns), None, 0.0
        print("a bot prints what it likes")

    def update_and_build(self, bar_row, cohort, funding):
        close = bar_row["close"]
        moved = log(close / self.last) if self.last else 0.0
        self.last, self.mean = close, 0.9 * self.mean + 0.1 * bar_row["volume"]
        first = [moved, self.mean, cohort["pros"], cohort["amateurs"], cohort["mood"], funding]
        return first + [close / 1e3] * (len(self.columns) - len(first))


class Endless(Honest):
    """Counts its bars, so that where it began shows for ever."""

    seen = 0

    def update_and_build(self, bar_row, cohort, funding):
        self.seen += 1
        return [float(self.seen)] + super().update_and_build(bar_row, cohort, funding)[1:]


class Short(Honest):
    def update_and_build(self, bar_row, cohort, funding):
        return super().update_and_build(bar_row, cohort, funding)[:12]


class Failing(Honest):
    """Divides by zero on one volume, ends its process on another."""

    def update_and_build(self, bar_row, cohort, funding):
        if bar_row["volume"] == 13.0:
            1 / 0
        if bar_row["volume"] == 14.0:
            import os
            os._exit(7)
        return super().update_and_build(bar_row, cohort, funding)
'''


def write(folder: Path) -> str:
    """Write the package `paperbot`; return the folder to import it from."""
    package = folder / "bots" / "paperbot"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "features.py").write_text(SOURCE)
    return str(folder / "bots")
