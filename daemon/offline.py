"""One retrain without a daemon: the same pipeline, judged by the same gates."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from daemon.app import folder_lock
from daemon.bars import SlotName
from daemon.clock import Clock
from daemon.errors import BadInput
from daemon.imports import open_store
from daemon.jobs import Jobs, Limits, Outcome
from daemon.keys import own_signer, trusted_keys
from daemon.limits import gate_limits, policy_settings
from daemon.registry import Registry
from daemon.settings import Config
from daemon.store import AsyncStore
from daemon.training import Training
from monitor.actions import StartRetrain
from retrain import artifact

REFUSED = 3


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it."""

    outcome: Outcome
    deployed: bool

    @property
    def exit_code(self) -> int:
        """0 if every gate passed, 3 if one refused."""
        return 0 if self.outcome.passed else REFUSED

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return {
            "model_id": self.outcome.model_id,
            "passed": self.outcome.passed,
            "refused_by": list(self.outcome.refused_by),
            "gates": list(self.outcome.gates),
            "seconds": round(self.outcome.seconds, 3),
            "deployed": self.deployed,
        }


@dataclass(frozen=True, slots=True)
class _Live:
    """The live model, for comparison."""

    champion: artifact.LoadedModel | None
    champion_path: str | None


async def retrain_once(
    config: Config, slot: SlotName, clock: Clock, *, deploy: bool, quiet: bool
) -> Result:
    """Train and judge a candidate on the stored bars; with `deploy` put it live if it passes.

    Raises:
        ConfigError: If the slot is not configured.
        DataFolderBusy: If a daemon runs on the data folder; ask it instead.
        BadInput: If no bars are stored.
        RetrainFailedError: If the child ended without a candidate.
    """
    gate_limits(config.gates)
    section = config.slot(slot)
    with folder_lock(config.data_dir):
        store = AsyncStore(open_store(config.data_dir))
        try:
            newest = store.store.newest_t(slot)
            if newest is None:
                raise BadInput(f"{slot} has no bars stored; import some or run the daemon first")
            signer = own_signer(config.data_dir)
            ring = trusted_keys(config.data_dir)
            registry = Registry(config.data_dir / "models", signer, ring=ring)
            live = _live(registry, slot)
            training = Training(
                slot=slot,
                section=section,
                config=config,
                store=store,
                registry=registry,
                jobs=Jobs(config.data_dir / "jobs", _limits(config)),
                false_alarms_per_month=policy_settings(config.policy, slot).false_alarms_per_month,
            )
            order = StartRetrain(
                slot=str(slot),
                at_ms=newest + slot.interval_ms,
                job_id=f"{slot}-{clock.now_ms()}",
                trigger="command",
                reason="hyperdrift retrain",
            )
            outcome = await _watched(training, order, live, quiet=quiet)
        finally:
            store.close()
        if outcome.passed and deploy:
            at_ms = clock.now_ms()
            why = "hyperdrift retrain --deploy"
            registry.deploy(slot, outcome.model_id, reason=why, by="operator", at_ms=at_ms)
    return Result(outcome, outcome.passed and deploy)


async def _watched(training: Training, order: StartRetrain, live: _Live, *, quiet: bool) -> Outcome:
    """Run it under a progress bar, then print the verdict gate by gate."""
    console = Console(stderr=True, quiet=quiet)
    columns = (
        TextColumn("{task.description:24}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("start", total=100)

        def show(line: dict[str, Any]) -> None:
            if line.get("event") == "progress":
                progress.update(
                    task, description=str(line["step"]), completed=float(line["percent"])
                )

        outcome = await training.run(order, live, show)
    for gate in outcome.gates:
        console.print(
            f"{'pass ' if gate['passed'] else 'FAIL '} {gate['verdict']}", highlight=False
        )
    verdict = "passed every gate" if outcome.passed else "is refused"
    console.print(f"{outcome.model_id} {verdict} ({outcome.seconds:.1f} s)", highlight=False)
    return outcome


def _limits(config: Config) -> Limits:
    return Limits(config.retrain.python, config.retrain.nice, config.retrain.timeout_s)


def _live(registry: Registry, slot: SlotName) -> _Live:
    live = registry.live(slot)
    if live is None:
        return _Live(None, None)
    path = registry.manifest_path(slot, live.model_id)
    return _Live(artifact.load(path), str(path))
