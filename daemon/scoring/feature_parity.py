"""Compare two feature computers over the stored bars, column by column.

A model that is given other features than in training fails without any error. The same computer
twice compares the features of training with those computed live.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.config.limits import child_limits
from daemon.config.schema import Config
from daemon.config.secrets import secret_paths
from daemon.scoring.feature_computers import Conversation, Frame, Rows
from daemon.store.data_folder import open_store
from daemon.training.jobs import Jobs
from hyperdrift.errors import BadInput
from hyperdrift.manifest import stamp
from hyperdrift.slot_name import SlotName
from retrain import features
from retrain.computers import BUILTIN, SERVED_BARS, TAIL_BARS, inputs

TOLERANCE: Final = 1e-9
REFUSED: Final = 3


@dataclass(frozen=True, slots=True)
class Column:
    """The largest absolute difference of one feature, and the open time of that bar, ms UTC."""

    name: str
    difference: float
    t: int


@dataclass(frozen=True, slots=True)
class Parity:
    """The differences of two computers; `columns` has the worst first.

    `rows` bars were compared; `only_one` counts bars that only one of the two has features for.
    """

    computers: tuple[str, str]
    rows: int
    only_one: int
    columns: tuple[Column, ...]

    @property
    def agrees(self) -> bool:
        """Whether no difference is beyond 1e-9."""
        return self.columns[0].difference <= TOLERANCE

    def document(self) -> dict[str, Any]:
        """Return the comparison as one JSON document."""
        return {
            "computers": list(self.computers),
            "rows": self.rows,
            "only_one": self.only_one,
            "agrees": self.agrees,
            "worst": self.columns[0].name,
            "columns": [
                {"name": c.name, "max_abs_difference": c.difference, "t": c.t} for c in self.columns
            ],
        }

    def lines(self) -> list[str]:
        """Return the lines of a table, the worst column first, and a verdict."""
        first, second = self.computers
        table = [f"{first} against {second}: {self.rows} bars"]
        if self.only_one:
            table.append(f"{self.only_one} bars have features of only one of them")
        table += [f"{c.name:20} {c.difference:9.2e}  at {stamp(c.t)} UTC" for c in self.columns]
        worst = self.columns[0]
        verdict = f"within {TOLERANCE:.0e}" if self.agrees else f"beyond {TOLERANCE:.0e}"
        return [*table, f"the worst column is {worst.name}, {worst.difference:.2e}: {verdict}"]


async def compare(config: Config, slot: SlotName, first: str, second: str) -> Parity:
    """Run two computers over the stored bars of a slot.

    Raises:
        BadInput: If there are no bars, or none for which both know the features.
        ComputingFailed: If a bot's class fails.
    """
    store = open_store(config.data_dir, read_only=True)
    try:
        frame = store.frame(slot)
    finally:
        store.close()
    if not len(frame["t"]):
        raise BadInput(f"{slot} has no bars stored; import some or run the daemon first")
    served = first == second
    one = await _rows(config, first, frame)
    two = await _served(config, second, frame) if served else await _rows(config, second, frame)
    names = (first, f"{second}, as it is served" if served else second)
    return differences(names, frame["t"], one, two)


def differences(names: tuple[str, str], t: NDArray[np.int64], one: Rows, two: Rows) -> Parity:
    """Compare rows of the same bars.

    Args:
        names: Names of the two computers.
        t: Open times, shape (n,).
        one: Features, shape (n, 17); a row with NaN is not known.
        two: The same, or of the newest bars only.

    Raises:
        BadInput: If no bar is known to both.
    """
    one, t = one[len(one) - len(two) :], t[len(t) - len(two) :]
    known = np.isfinite(one).all(axis=1), np.isfinite(two).all(axis=1)
    both = known[0] & known[1]
    if not both.any():
        raise BadInput(f"no bar has features of both {names[0]} and {names[1]}; store more bars")
    gap = np.abs(one[both] - two[both])
    worst, where = gap.max(axis=0), gap.argmax(axis=0)
    columns = [
        Column(name, float(worst[i]), int(t[both][where[i]]))
        for i, name in enumerate(features.NAMES)
    ]
    columns.sort(key=lambda column: -column.difference)
    return Parity(names, int(both.sum()), int((known[0] != known[1]).sum()), tuple(columns))


async def _rows(config: Config, name: str, frame: Frame) -> Rows:
    """Compute the features of every bar, as training does."""
    if name == BUILTIN:
        return await asyncio.to_thread(features.compute, frame)
    rows = await _asked(config, name, inputs(frame))
    rows[: features.WARMUP_BARS] = np.nan
    return rows


async def _served(config: Config, name: str, frame: Frame) -> Rows:
    """Compute the features of the newest bars, as the daemon does at their close."""
    newest = min(SERVED_BARS, len(frame["t"]))
    if name == BUILTIN:
        return await asyncio.to_thread(_one_by_one, frame, newest)
    fed = inputs(frame)[max(0, len(frame["t"]) - newest - TAIL_BARS) :]
    return (await _asked(config, name, fed))[-newest:]


def _one_by_one(frame: Mapping[str, NDArray[Any]], newest: int) -> Rows:
    rows = []
    for end in range(len(frame["t"]) - newest + 1, len(frame["t"]) + 1):
        window = slice(max(0, end - features.LIVE_BARS), end)
        rows.append(features.compute({name: frame[name][window] for name in frame})[-1])
    return np.array(rows)


async def _asked(config: Config, name: str, fed: Rows) -> Rows:
    jobs = Jobs(config.data_dir / "jobs", child_limits(config.retrain), secret_paths(config))
    section = msgspec.structs.replace(config.features, computer=name)
    talk = Conversation(section, child_limits(config.retrain), jobs.surroundings)
    try:
        return await talk.ask(fed, begin=True)
    finally:
        await talk.end()
