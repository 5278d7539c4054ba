"""Run one retrain without a daemon, with the same pipeline and the same gates."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from daemon.config.limits import child_limits, gate_limits, policy_settings
from daemon.config.schema import Config
from daemon.config.secrets import secret_paths
from daemon.core.errors import NotNow
from daemon.core.terminal.console import EscapingConsole
from daemon.core.users import user_name
from daemon.registry import deployment_log
from daemon.registry.keys import own_signer, trusted_keys
from daemon.registry.registry import Registry
from daemon.registry.version_info import VersionInfo
from daemon.store.async_store import AsyncStore, ThreadedStore
from daemon.store.data_folder import open_store
from daemon.store.folder_lock import folder_lock
from daemon.store.store import Store
from daemon.training.jobs import JobOutcome, Jobs
from daemon.training.training import Training
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput
from hyperdrift.loaded_model import LoadedModel
from hyperdrift.slot_name import SlotName
from monitor.actions import StartRetrain
from monitor.policy import Situation, Wait, decide
from retrain import features
from retrain.manifest import made_at, model_id

REFUSED = 3


@dataclass(frozen=True, slots=True)
class RetrainResult:
    """The result of one retrain."""

    outcome: JobOutcome
    deployed: bool

    @property
    def exit_code(self) -> int:
        """0 if every gate passed, 3 if one refused."""
        return 0 if self.outcome.passed else REFUSED

    def document(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        return {
            "model_id": self.outcome.model_id,
            "passed": self.outcome.passed,
            "refused_by": list(self.outcome.refused_by),
            "earns": self.outcome.earns,
            "gates": list(self.outcome.gates),
            "notes": list(self.outcome.notes),
            "seconds": round(self.outcome.seconds, 3),
            "deployed": self.deployed,
        }


@dataclass(frozen=True, slots=True)
class _Live:
    """The live model, which the candidate is compared with."""

    champion: LoadedModel | None
    champion_path: str | None


OpenJobs = Callable[[Config, Path, Clock], AbstractAsyncContextManager[Jobs]]


@asynccontextmanager
async def local_jobs(config: Config, root: Path, _clock: Clock) -> AsyncIterator[Jobs]:
    """Yield what runs jobs on this host, with folders under `root`."""
    yield Jobs(root, child_limits(config.retrain), secret_paths(config))


async def retrain_once(
    config: Config,
    slot: SlotName,
    clock: Clock,
    *,
    deploy: bool,
    force: bool,
    quiet: bool,
    opened: OpenJobs = local_jobs,
) -> RetrainResult:
    """Train and judge a candidate on the stored bars; with `deploy`, deploy it if it passes.

    Args:
        config: Settings of the slot, the policy and the gates.
        slot: The slot to train for.
        clock: Gives the time of the deployment.
        deploy: Deploy the candidate if every gate passes.
        force: Do not ask the policy whether a retrain may start. The gates still judge.
        quiet: Show neither progress nor verdict.
        opened: Opens what runs the job.

    Raises:
        ConfigError: If the slot is not configured.
        DataFolderBusy: If a daemon runs on the data folder; ask it instead.
        BadInput: If no bars are stored.
        NotNow: If the policy does not allow a retrain yet; says why.
        RetrainFailedError: If the child ended without a candidate.
    """
    gate_limits(config.gates)
    config.slot(slot)  # raises if the slot is not configured
    with folder_lock(config.data_dir):
        store = ThreadedStore(open_store(config.data_dir))
        try:
            newest = store.store.newest_t(slot)
            if newest is None:
                raise BadInput(f"{slot} has no bars stored; import some or run the daemon first")
            signer = own_signer(config.data_dir)
            ring = trusted_keys(config.data_dir)
            registry = Registry(config.data_dir / "models", signer, ring=ring)
            live = _live(registry, slot)
            if not force:
                bars = len(store.store.bars(slot)["t"])
                _ask_policy(config, registry, slot, newest + slot.interval_ms, bars)
            order = StartRetrain(
                slot=str(slot),
                at_ms=_unused(registry, slot, newest + slot.interval_ms),
                job_id=f"{slot}-{clock.now_ms()}",
                trigger="command",
                reason="hyperdrift retrain",
            )
            async with opened(config, config.data_dir / "jobs", clock) as jobs:
                training = _training(config, slot, store, registry, jobs)
                outcome = await _watched(training, order, live, quiet=quiet)
            if outcome.passed and deploy:
                _deploy(registry, store.store, slot, outcome.model_id, clock.now_ms())
        finally:
            store.close()
    return RetrainResult(outcome, outcome.passed and deploy)


def _deploy(registry: Registry, store: Store, slot: SlotName, model_id: str, at_ms: int) -> None:
    """Deploy a version that passed its gates, and record who did."""
    by, why = user_name(), "hyperdrift retrain --deploy"
    manifest = registry.deploy(slot, model_id, reason=why, by=by, at_ms=at_ms)
    deployment_log.note(store, slot, manifest, at_ms)


def _training(
    config: Config, slot: SlotName, store: AsyncStore, registry: Registry, jobs: Jobs
) -> Training:
    return Training(
        slot=slot,
        section=config.slot(slot),
        config=config,
        store=store,
        registry=registry,
        jobs=jobs,
        false_alarms_per_month=policy_settings(config.policy, slot).false_alarms_per_month,
    )


async def _watched(
    training: Training, order: StartRetrain, live: _Live, *, quiet: bool
) -> JobOutcome:
    """Run the retrain with a progress bar on stderr, then print the verdict of each gate."""
    console, aside = EscapingConsole(quiet=quiet), EscapingConsole(stderr=True, quiet=quiet)
    columns = (
        TextColumn("{task.description:24}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
    )
    with Progress(*columns, console=aside, transient=True) as progress:
        task = progress.add_task("start", total=100)

        def show(line: dict[str, Any]) -> None:
            if line.get("event") == "progress":
                progress.update(
                    task, description=str(line["step"]), completed=float(line["percent"])
                )

        outcome = await training.run(order, live, show)
    console.print(_table(outcome), highlight=False)
    for note in outcome.notes:
        console.print(Text(note, "dim"))
    verdict = "passed every gate" if outcome.passed else "is refused"
    console.print(Text(f"earns: {outcome.earns}"))
    console.print(f"{outcome.model_id} {verdict} ({outcome.seconds:.1f} s)", highlight=False)
    return outcome


def _table(outcome: JobOutcome) -> Table:
    """Return a table of the gates with their verdicts in words."""
    table = Table("", "gate", "verdict", box=box.SIMPLE_HEAD, pad_edge=False)
    for gate in outcome.gates:
        mark = Text("pass", "green") if gate["passed"] else Text("FAIL", "bold red")
        table.add_row(mark, gate["name"], Text(str(gate.get("verdict", ""))))
    return table


def _ask_policy(config: Config, registry: Registry, slot: SlotName, now_ms: int, bars: int) -> None:
    """Ask the daemon's policy whether a retrain may start at `now_ms`, ms UTC."""
    live = registry.live(slot)
    versions = registry.versions(slot)  # newest first
    unsuccessful = [v for v in versions if not v.passed]
    situation = Situation(
        now_ms=now_ms,
        interval_ms=slot.interval_ms,
        bars=bars,
        trained_to_ms=live.trained_to_ms if live else None,
        began_ms=tuple(sorted(_made_ms(version) for version in versions)),
        unsuccessful_ms=_made_ms(unsuccessful[0]) if unsuccessful else None,
        fell="an operator asks",  # the trigger; the policy checks only its limits
    )
    answer = decide(replace(policy_settings(config.policy, slot), on_win_rate=True), situation)
    if isinstance(answer, Wait):
        raise NotNow(f"{slot}: {answer.reason}; --force retrains all the same")


def _made_ms(version: VersionInfo) -> int:
    return round(made_at(version.model_id).timestamp() * 1000)


def _unused(registry: Registry, slot: SlotName, at_ms: int) -> int:
    """Return the first second from `at_ms` on, in ms UTC, that no version is named by."""
    while registry.manifest_path(slot, model_id(at_ms, features.schema_hash())).exists():
        at_ms += 1000
    return at_ms


def _live(registry: Registry, slot: SlotName) -> _Live:
    live = registry.live(slot)
    if live is None:
        return _Live(None, None)
    path = registry.manifest_path(slot, live.model_id)
    return _Live(registry.load(slot, live.model_id), str(path))
