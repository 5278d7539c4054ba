"""Compute the features of a closed bar, with the built-in formulas or a class of the bot.

A bot's class may raise, hang, print or end its process. So it runs in a child process, one
instance for each slot, under the interpreter of the retrain. A failure costs the score of one
bar and is logged.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from daemon.config.schema import FeaturesSection
from daemon.core import subprocesses
from daemon.core.errors import ComputingFailed, RetrainFailedError
from daemon.core.log_once import LogOnce
from daemon.core.outside_text import printable
from daemon.core.subprocesses import Limits, Surroundings
from daemon.scoring.recent_bars import RecentBars
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from retrain import features
from retrain.computers import BUILTIN, TAIL_BARS, inputs

log = structlog.get_logger()

Frame = Mapping[str, NDArray[Any]]
Rows = NDArray[np.float64]

ANSWER_S: Final = 30.0
"""Time limit in seconds for a bar, or for the first thousand bars of a new instance."""
TURNS: Final = 1
"""So many slots compute at once, and the others wait in order: more would share one thread."""
_CHUNK: Final = 1000
# The cohort flow of a bar is a sum over 12 bars.
_LEAD_BARS: Final = 11


class Computer(Protocol):
    """Computes the features of one slot's bars."""

    @property
    def schema_hash(self) -> str | None:
        """Hash that names its formulas, as in a manifest; None while it is not known."""
        ...

    async def row(self, t: int) -> Rows:
        """Return the features of the stored bar that opened at `t`, shape (17,), NaN if unknown."""
        ...

    async def close(self) -> None:
        """Release what it holds."""
        ...


def make(
    section: FeaturesSection,
    slot: SlotName,
    store: AsyncStore,
    limits: Limits,
    where: Callable[[], Surroundings],
    *,
    turns: asyncio.Semaphore | None = None,
) -> Computer:
    """Return the computer that the configuration asks for; the slots share `turns`."""
    if section.computer == BUILTIN:
        return Builtin(slot, store, turns)
    return BotComputer(slot, store, Conversation(section, limits, where))


class Builtin:
    """Computes the built-in features, on the thread of the store that it reads.

    Args:
        slot: The slot.
        store: Has its bars.
        turns: Who holds one computes, and the others wait in order; None computes at once.
    """

    def __init__(
        self, slot: SlotName, store: AsyncStore, turns: asyncio.Semaphore | None = None
    ) -> None:
        self._store, self._bars = store, RecentBars(slot, features.LIVE_BARS)
        self._turns = turns or asyncio.Semaphore(TURNS)
        self.schema_hash: str | None = features.schema_hash()

    async def row(self, t: int) -> Rows:
        """Compute the features, shape (17,), from the last `features.LIVE_BARS` bars."""
        async with self._turns:
            return await self._row(t)

    async def close(self) -> None:
        """Nothing to end."""

    async def _row(self, t: int) -> Rows:
        return await self._store.call(_built_in_row, self._bars, t)


def _built_in_row(store: Store, bars: RecentBars, t: int) -> Rows:
    frame = bars.frame(store, t)
    if not _ends_at(frame, t):
        return _unknown()
    rows: Rows = features.compute(frame)
    return np.asarray(rows[-1])


class BotComputer:
    """Computes features with a class of the bot, which is fed every bar once, in order.

    It begins `TAIL_BARS` bars back: at the start, after a failure, and where bars are missing
    between the last bar it was fed and the bar in question.
    """

    def __init__(self, slot: SlotName, store: AsyncStore, talk: "Conversation") -> None:
        self._slot, self._store, self._talk = slot, store, talk
        self._fed_t: int | None = None
        self._failure = LogOnce()

    @property
    def schema_hash(self) -> str | None:
        """Hash of the class as the child imported it; None before that."""
        return self._talk.schema_hash

    async def row(self, t: int) -> Rows:
        """Feed the bar; return its features, shape (17,).

        A failure gives a row of NaN and is logged once, until it is over.
        """
        try:
            row = await self._row(t)
        except ComputingFailed as e:
            self._fed_t = None
            await self._talk.end()
            if self._failure.begins():
                log.error("features.failed", slot=str(self._slot), why=str(e))  # noqa: TRY400
            return _unknown()
        if self._failure.ends():
            log.info("features.recovered", slot=str(self._slot))
        self._fed_t = t
        return row

    async def close(self) -> None:
        """End the child process."""
        await self._talk.end()

    async def _row(self, t: int) -> Rows:
        frame = await self._frame(t, 2)
        if not _ends_at(frame, t):
            return _unknown()
        if self._fed_t is not None and frame["t"][-2:-1] == [self._fed_t]:
            rows = await self._talk.ask(inputs(frame)[-1:])
            return np.asarray(rows[-1])
        frame = await self._frame(t, TAIL_BARS + 1)
        fed = inputs(frame)[max(0, len(frame["t"]) - TAIL_BARS - 1) :]
        return np.asarray((await self._talk.ask(fed, begin=True))[-1])

    async def _frame(self, t: int, bars: int) -> Frame:
        return await self._store.call(Store.frame, self._slot, to_t=t, last=bars + _LEAD_BARS)


def _ends_at(frame: Frame, t: int) -> bool:
    """Return whether the store has the bar that opened at `t`, with possible numbers."""
    return len(frame["t"]) > 0 and int(frame["t"][-1]) == t


def _unknown() -> Rows:
    return np.full(len(features.NAMES), np.nan)


class Conversation:
    """Runs a bot's class in a child process and talks with it."""

    def __init__(
        self, section: FeaturesSection, limits: Limits, where: Callable[[], Surroundings]
    ) -> None:
        self._arguments = ("-m", "retrain.computing", section.computer, section.folder)
        # Niceness 0: a closed bar must be scored at once, unlike a retrain.
        self._limits, self._where = replace(limits, nice=0), where
        self._name = section.computer
        self._process: asyncio.subprocess.Process | None = None
        self._errors: asyncio.Task[str] | None = None
        self.schema_hash: str | None = None

    async def ask(self, rows: Rows, *, begin: bool = False) -> Rows:
        """Feed bars to the instance, to a new one with `begin`; start the child if needed.

        Args:
            rows: As `retrain.computers.inputs` gives them, shape (n, 8), at least one.
            begin: Whether to make a new instance first.

        Returns:
            Their features, shape (n, 17).

        Raises:
            ComputingFailed: If it failed, ended, or did not answer in time. Call `end` then.
        """
        given: list[Rows] = []
        for start in range(0, len(rows), _CHUNK):
            asked = {"inputs": rows[start : start + _CHUNK].tolist(), "begin": begin and not start}
            given.append(await self._exchange(asked))
        return np.concatenate(given)

    async def end(self) -> None:
        """End the child process."""
        process, errors = self._process, self._errors
        self._process = self._errors = None
        if process is not None and errors is not None:
            await subprocesses.end(process)
            await errors

    async def _exchange(self, asked: dict[str, Any]) -> Rows:
        try:
            async with asyncio.timeout(ANSWER_S):
                if self._process is None:
                    await self._begin()
                assert self._process is not None
                assert self._process.stdin is not None
                with contextlib.suppress(ConnectionError):  # it ended; its output says why
                    self._process.stdin.write(json.dumps(asked).encode() + b"\n")
                    await self._process.stdin.drain()
                rows = np.asarray((await self._line())["rows"], dtype=np.float64)
        except TimeoutError:
            raise ComputingFailed(self._name, f"gave no answer for {ANSWER_S:.0f} s") from None
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as e:
            why = f"gave an answer that cannot be read ({printable(str(e))})"
            raise ComputingFailed(self._name, why) from e
        if rows.shape != (wanted := (len(asked["inputs"]), len(features.NAMES))):
            raise ComputingFailed(self._name, f"gave {rows.shape} values, must give {wanted}")
        return rows

    async def _begin(self) -> None:
        try:
            self._process = await subprocesses.start(
                self._arguments,
                self._limits,
                await asyncio.to_thread(self._where),
                stdin=asyncio.subprocess.PIPE,
            )
        except RetrainFailedError as e:
            raise ComputingFailed(self._name, str(e)) from e
        self._errors = asyncio.create_task(
            subprocesses.tail(self._process.stderr), name="computer-stderr"
        )
        self.schema_hash = str((await self._line())["schema_hash"])

    async def _line(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        raw = await self._process.stdout.readline()
        line = json.loads(raw) if raw else {"error": await self._last_words()}
        if "error" in line:
            raise ComputingFailed(self._name, str(line["error"]))
        return dict(line)

    async def _last_words(self) -> str:
        assert self._process is not None
        assert self._errors is not None
        code = await self._process.wait()
        said = (await self._errors).strip().rpartition("\n")[2] or "without a word"
        return f"its process ended with {code}: {said}"
