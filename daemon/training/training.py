"""Run one retrain of one slot, from the stored bars to an adopted version.

The registry adopts every candidate, even a refused one, because a person may want to read its
report. Only the engine decides what is deployed.
"""

import asyncio
import functools
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol, Self

import msgspec
import structlog

from daemon.config.limits import shared_limits, threads_each
from daemon.config.schema import Config, SlotSection
from daemon.registry import deployment_log
from daemon.registry.fair_pruning import prune_all
from daemon.registry.live_labels import LiveLabels
from daemon.registry.registry import Registry
from daemon.store.async_store import AsyncStore
from daemon.store.market_closures import training_frame
from daemon.training.cohort_refresh import refresh_cohorts
from daemon.training.jobs import ChallengeOutcome, JobOutcome, Jobs
from daemon.training.retrain_queue import RetrainQueue
from hyperdrift.loaded_model import LoadedModel
from hyperdrift.slot_name import SlotName
from monitor.actions import AskChallenger, StartRetrain
from monitor.events import ChallengerJudged

log = structlog.get_logger()

KEEP_VERSIONS: Final = 30
"""How many of the newest versions the registry keeps, besides the live and the previous one."""

OnLine = Callable[[dict[str, Any]], None]


class LiveChampion(Protocol):
    """The live model that a candidate is compared with."""

    @property
    def champion(self) -> LoadedModel | None:
        """The loaded model, None before the first deploy."""
        ...

    @property
    def champion_path(self) -> str | None:
        """The path of its manifest, None before the first deploy."""
        ...


@dataclass(frozen=True, slots=True)
class Training:
    """Runs the retrains of one slot."""

    slot: SlotName
    section: SlotSection
    config: Config
    store: AsyncStore
    registry: Registry
    jobs: Jobs
    false_alarms_per_month: float
    queue: RetrainQueue = field(default_factory=RetrainQueue)
    """Says when a retrain of this slot may run; all slots have the same."""

    def reconfigured(self, config: Config) -> Self:
        """Return a copy with another configuration, which has this slot too."""
        limits, parallel = shared_limits(config.retrain), config.retrain.parallel
        jobs = self.jobs.limited(limits, parallel)
        return replace(self, section=config.slot(self.slot), config=config, jobs=jobs)

    async def run(
        self, order: StartRetrain, live: LiveChampion, on_line: OnLine, *, sharing: int = 1
    ) -> JobOutcome:
        """Train and judge a candidate, calibrate its drift monitor and adopt it.

        Args:
            order: The engine's order, with its trigger and its time.
            live: The champion that the candidate is compared with.
            on_line: Called with each JSON line of the child while it runs.
            sharing: How many children share the cores of the host.

        Raises:
            RetrainFailedError: If the child ended without a candidate; says why.
        """
        await refresh_cohorts(self.config, self.section, self.store, self.jobs, order.at_ms)
        since = order.at_ms - self.section.history_ms
        others = [section.name for section in self.config.slots]
        frame = await self.store.call(training_frame, self.slot, since, others)
        spec = await asyncio.to_thread(job_spec, self.config, self.section, order, live)
        spec["jobs"] = threads_each(sharing)
        try:
            outcome = await self.jobs.retrain(order.job_id, spec, frame, on_line)
            await asyncio.to_thread(self.registry.adopt, self.slot, outcome.manifest)
            await self._prune(order.at_ms)
            if outcome.passed:
                on_line({"event": "progress", "step": "drift calibration", "percent": 99.0})
                text = await self.jobs.calibrate(order.job_id, self.false_alarms_per_month)
                path = self.registry.folder(self.slot) / calibration_name(outcome.model_id)
                await asyncio.to_thread(path.write_text, text)
        finally:
            await asyncio.to_thread(self.jobs.discard, order.job_id)
        return outcome

    async def _prune(self, at_ms: int) -> None:
        removed = await asyncio.to_thread(self.registry.prune, self.slot, KEEP_VERSIONS)
        models = self.config.data_dir / "models"
        gone = await asyncio.to_thread(prune_all, self.registry, models)
        gone[self.slot] = (*removed, *gone.get(self.slot, ()))
        for slot, versions in gone.items():
            if not versions:
                continue
            log.info("models.pruned", slot=str(slot), removed=versions, keep=KEEP_VERSIONS)
            note, keep = deployment_log.note_pruned, KEEP_VERSIONS
            await self.store.call(note, slot, at_ms, versions, keep=keep, by="hyperdrift")

    async def challenge(
        self, order: AskChallenger, live: LiveChampion, *, sharing: int = 1
    ) -> ChallengeOutcome:
        """Ask a quick challenger whether a retrain would help.

        Args:
            order: The engine's order, with its time.
            live: The champion that the challenger is compared with.
            sharing: How many children share the cores of the host.

        Raises:
            RetrainFailedError: If the child ended without an answer; says why.
        """
        since = order.at_ms - self.section.history_ms
        others = [section.name for section in self.config.slots]
        frame = await self.store.call(training_frame, self.slot, since, others)
        spec = await asyncio.to_thread(job_spec, self.config, self.section, order, live)
        spec["jobs"] = threads_each(sharing)
        return await self.jobs.challenge(order.job_id, spec, frame)


def challenger_judged(
    answer: ChallengeOutcome, order: AskChallenger, at_ms: int
) -> ChallengerJudged:
    """Return the answer of a quick challenger as an event at `at_ms`, ms UTC."""
    return ChallengerJudged(
        slot=order.slot,
        at_ms=at_ms,
        job_id=order.job_id,
        helps=answer.helps,
        detail=answer.text,
        rows=answer.rows,
        champion=answer.champion,
        fresh=answer.fresh,
        stale=answer.stale,
        refused_by=answer.refused_by,
    )


def job_spec(
    config: Config, section: SlotSection, order: StartRetrain | AskChallenger, live: LiveChampion
) -> dict[str, Any]:
    """Return the `job.json` of a retrain.

    Args:
        config: The whole configuration.
        section: The configuration of the slot.
        order: The engine's order, with its trigger and its time.
        live: The champion that the candidate is compared with.
    """
    settings, slot = config.retrain, section.name
    return {
        "computer": config.features.computer,
        "computer_path": config.features.folder,
        "slot": str(slot),
        "interval": slot.interval,
        "horizon_bars": section.horizon,
        "threshold": section.label_threshold,
        "previous_threshold": _previous_threshold(live, section.label_threshold),
        "at_ms": order.at_ms,
        "seed": settings.seed,
        "min_signal_rate": settings.min_signal_rate,
        "costs": msgspec.structs.asdict(config.costs_of(section)),
        "gates": dict(config.gates),
        "champion": live.champion_path,
        "reason": order.reason,
        "git_commit": source_commit(),
        "python": settings.python or sys.executable,
        "onnx_python": sys.executable,
    }


def _previous_threshold(live: LiveChampion, setting: float | str) -> float | None:
    if live.champion is None or live.champion_path is None:
        return None
    labels = LiveLabels.of(live.champion.manifest, Path(live.champion_path).parent)
    return labels.chosen_by(setting)


@functools.cache
def source_commit() -> str:
    """Return the commit of the git checkout that holds this code, empty if there is none."""
    root, git = Path(__file__).parents[2], shutil.which("git")
    if git is None or not (root / ".git").exists():
        return ""
    command = (git, "-C", str(root), "rev-parse", "HEAD")
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return found.stdout.strip()


def calibration_name(model_id: str) -> str:
    """Return the file name of the drift calibration that belongs to a version."""
    return f"drift_{model_id}.json"


def read_calibration(folder: Path, model_id: str) -> str:
    """Return the calibration of a version as JSON text; empty if it has none."""
    try:
        return (folder / calibration_name(model_id)).read_text()
    except OSError:
        return ""
