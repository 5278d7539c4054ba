"""Compare what each policy would have done on the stored bars, over a grid of slots and horizons.

A person decides from this whether to trust the daemon. So every policy has the same bars, gates,
costs and first model. Cells do not depend on each other, so they run side by side, but no more
slots at once than keep all places busy: each holds its bars in memory.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import msgspec
from rich.progress import Progress

from daemon.backtest import backends, progress, report
from daemon.backtest.candidate_cache import KEPT_BYTES, forget_beyond, forget_fits
from daemon.backtest.grid import is_as_configured, stored_bars
from daemon.backtest.kept_cells import cell_settings
from daemon.backtest.policies import policy_settings_of
from daemon.backtest.progress import GridProgress
from daemon.backtest.results import SlotBacktest, Tracks
from daemon.backtest.resume_point import ResumePoint
from daemon.backtest.slot_backtest import SlotRuns, Span
from daemon.backtest.summaries import GridResult, Summaries
from daemon.config.backend import read_backend
from daemon.config.limits import gate_limits, policy_settings
from daemon.config.schema import Config, SlotSection
from daemon.core.tasks import single_failure
from daemon.core.terminal.console import EscapingConsole
from daemon.core.times import utc
from daemon.store.data_folder import open_store
from daemon.store.folder_lock import folder_lock
from hyperdrift.errors import BadInput, ConfigError
from retrain.computers import BUILTIN

_NO_BARS: Final = 2
_LOOK_S: Final = 5.0


class GridBacktest:
    """One backtest: each policy over the stored bars of each slot.

    Candidates and finished cells are kept under `<data_dir>/backtest`, so that a second run, also
    after an interrupted one, makes none of them again.

    Args:
        config: Settings of the policy and the gates.
        sections: The slots, with their labels.
        policies: Names of policies.
        days: Only the newest so many days are run; models learn from the bars before, too.
        backend: What trains, in place of `retrain.backend`.
        quiet: Show no progress.

    Attributes:
        cells: How many cells there are.
        done: How many of them have ended, with figures or without.

    Raises:
        ConfigError: If there is no such policy or backend, or the bot computes features of its own.
    """

    def __init__(
        self,
        config: Config,
        sections: Sequence[SlotSection],
        policies: Sequence[str],
        *,
        days: float | None = None,
        backend: str | None = None,
        quiet: bool,
    ) -> None:
        gate_limits(config.gates)
        read_backend(config.retrain, backend)
        if config.features.computer != BUILTIN:
            msg = "a backtest knows the built-in features only; set features.computer to builtin"
            raise ConfigError(f"{msg} for it")
        self._config, self._sections = config, tuple(sections)
        self._policies = tuple(dict.fromkeys(policies))
        for section in self._sections[:1]:
            for name in self._policies:
                policy_settings_of(name, policy_settings(config.policy, section.name))
        self._days, self._backend, self._quiet = days, backend, quiet
        self._root = config.data_dir / "backtest"
        self._console = EscapingConsole(stderr=True, highlight=False)
        self.cells, self.done = len(self._sections) * len(self._policies), 0
        self._found = self._failed = self._kept = 0

    @property
    def resume(self) -> str:
        """Say how an interrupted backtest goes on."""
        kept = f"{self._kept} of {self.cells} cells are done and kept; " if self._kept else ""
        return f"{kept}the same command goes on from here"

    async def run(self) -> GridResult:
        """Run all cells.

        Raises:
            DataFolderBusy: If another backtest runs on this data folder.
            BadInput: If no slot has enough bars.
        """
        with folder_lock(self._root), progress.shown(quiet=self._quiet) as bars:
            point = await asyncio.to_thread(self._point)
            async with backends.opened(self._config, self._backend, self._root) as training:
                results, summaries = await self._slots(bars, point, training)
            point.forget()
            forget_fits(self._root)
            removed = await asyncio.to_thread(forget_beyond, self._root)
        if self._found and not self._quiet:
            self._say(f"{self._found} of {self.cells} cells were done before")
        if removed and not self._quiet:
            most = f"{KEPT_BYTES >> 30} GiB"
            self._say(
                f"removed the {removed} candidates that were not used for longest: {most} are kept"
            )
        done = GridResult(tuple(results), tuple(summaries.rows()))
        if done.exit_code == _NO_BARS:
            raise BadInput(_no_figures(done.slots))
        return done

    def _point(self) -> ResumePoint:
        asked = [
            [cell_settings(self._config, section) for section in self._sections],
            *(msgspec.to_builtins(self._config.policy), self._policies, self._days),
        ]
        with open_store(self._config.data_dir, read_only=True) as store:
            ((newest,),) = store.database.read("SELECT coalesce(max(t), 0) FROM bars")
        point = ResumePoint(self._root, asked, newest)
        self._kept = len(point.kept)
        if point.goes_on and not self._quiet:
            done = f"{self._kept} of {self.cells} cells are done"
            self._say(f"an interrupted backtest goes on: {done}, bars until {utc(point.until_ms)}")
        point.write()
        return point

    async def _slots(
        self, bars: Progress, point: ResumePoint, training: backends.TrainingPlaces
    ) -> tuple[list[SlotBacktest], Summaries]:
        shown = await asyncio.to_thread(self._shown, bars)
        span, summaries = Span(point.until_ms, self._days), Summaries()
        alone = asyncio.Lock()

        def ended(name: str, *, kept: bool, found: bool = False) -> None:
            self.done += 1
            self._found += found
            point.note(name, kept=kept)  # at once: what interrupts this finds it counted
            self._kept = len(point.kept)

        async def one(section: SlotSection) -> SlotBacktest:
            runs = SlotRuns(self._config, section, span, training, ended)
            cells = shown.cells_of(section, self._policies)
            slot, tracks = await runs.results(self._policies, cells)
            async with alone:
                if tracks is not None and slot.measured:
                    await asyncio.to_thread(summaries.add, slot, tracks)
                    slot = await asyncio.to_thread(self._written, section, slot, tracks)
            self._failed += len(slot.results) - len(slot.measured)
            self._tell(slot, shown)
            return slot if len(self._sections) == 1 else slot.without_events()

        begun = list[asyncio.Task[SlotBacktest]]()
        with single_failure():
            async with asyncio.TaskGroup() as tasks:
                for section in self._sections:
                    await self._room(begun, training)
                    begun.append(tasks.create_task(one(section), name=f"backtest {section.name}"))
        return [task.result() for task in begun], summaries

    async def _room(
        self, begun: Sequence[asyncio.Task[SlotBacktest]], training: backends.TrainingPlaces
    ) -> None:
        """Wait until one more slot may run; each has its bars in memory."""
        while True:
            running = [task for task in begun if not task.done()]
            if len(running) < training.slots_at_once(len(self._policies)):
                return
            ended = asyncio.FIRST_COMPLETED  # workers may come meanwhile
            await asyncio.wait(running, timeout=_LOOK_S, return_when=ended)

    def _shown(self, bars: Progress) -> GridProgress:
        work = dict[str, float]()
        stored = stored_bars(self._config, self._sections)
        for section, n in zip(self._sections, stored, strict=True):
            least = policy_settings(self._config.policy, section.name).min_bars
            first = Span(0, self._days).first_bar(n, section.name, least)
            for name in self._policies:
                title = progress.title(section, name)
                work[title] = progress.work(section.name, name, first, max(first, n))
        return GridProgress(bars, work)

    def _written(self, section: SlotSection, slot: SlotBacktest, tracks: Tracks) -> SlotBacktest:
        other = "" if is_as_configured(self._config, section) else f"-{section.horizon}bars"
        path = self._root / f"{section.name}{other}.html"
        report.write(path, slot, tracks)
        return replace(slot, report=path)

    def _tell(self, slot: SlotBacktest, shown: GridProgress) -> None:
        """Say which slot is done, where no progress can be shown."""
        if self._quiet or self._console.is_terminal or len(self._sections) == 1:
            return
        minutes = round((shown.left_s or 0) / 60)
        left = f", about {minutes} min left" if minutes else ""
        failed = f", {self._failed} without figures" if self._failed else ""
        done = f"{self.done} of {self.cells} cells done{failed}"
        self._say(f"{done} ({slot.slot}, {slot.horizon_bars} bars){left}")

    def _say(self, text: str) -> None:
        self._console.print(f"hyperdrift: {text}", soft_wrap=True)


def _no_figures(slots: Sequence[SlotBacktest]) -> str:
    """Say why the bars of no slot give figures, by the first one's reason."""
    first = slots[0]
    why = next(one.failure.reason for one in first.results if one.failure)
    if len(slots) == 1:
        return why
    named = why if str(first.slot) in why else f"{first.slot}: {why}"
    return f"{named} (and {len(slots) - 1} slots more)"
