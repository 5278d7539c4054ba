"""Run one retrain from bars to a judged candidate: judge a twin, deploy the refit.

The twin is trained on the oldest 80 % and judged on the rest. If it passes, the same recipe is
fitted to all bars, and this refit is the candidate: a retrain after a drift needs the newest
bars. A refused twin is saved too, so that its report can say why.
"""

import functools
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships none

from retrain import artifact, dataset, features
from retrain.computers import BUILTIN
from retrain.dataset import Rows
from retrain.deciding.decision import SignalThreshold
from retrain.forms import proofs
from retrain.forms.description import described
from retrain.forms.interpreters import FreshInterpreter
from retrain.job import Job
from retrain.judging import findings, provenance
from retrain.judging.certificate import certificate
from retrain.judging.comparison import champion_rows, compare
from retrain.judging.gate_limits import Gate
from retrain.judging.gates import (
    Comparison,
    Evidence,
    Shipped,
    judge,
    judge_shipped,
)
from retrain.labels import DOWN, UP, shares
from retrain.reporting.plots import draw
from retrain.reporting.report import render
from retrain.scores import Scores, score, share_shift
from retrain.stacking.scaling import notes, scaled_trainer
from retrain.stacking.stack import Recipe, Trainer
from retrain.stacking.twin import Model, fit_twin, refit
from retrain.steps import Progress, StepWatch

GOLDEN_ROWS: Final = 32
NO_REPORT: Final = "<!doctype html><title>No report</title><p>A backtest draws none.</p>\n"
Predict = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """The result of a retrain; `gates` are in the order in which they were judged."""

    manifest: Mapping[str, Any]
    meta: Mapping[str, Any]
    gates: tuple[Gate, ...]

    @property
    def refused_by(self) -> tuple[str, ...]:
        """Names of the gates that refused it."""
        return tuple(gate.name for gate in self.gates if not gate.passed)

    @property
    def passed(self) -> bool:
        """True if it may go live."""
        return not self.refused_by


def run(
    job: Job, directory: artifact.Folder, progress: Progress, timer: Callable[[], float]
) -> Candidate:
    """Train, judge and save one candidate.

    Args:
        job: What to do.
        directory: Where the version is written; created if missing.
        progress: Called with each step's name and the percentage done when it begins.
        timer: A monotonic clock in seconds, for the timings in the certificate.

    Returns:
        The candidate, passed or refused; its files are in `directory`.

    Raises:
        RetrainError: If bars or settings allow no model at all.
    """
    # Threads of BLAS and OpenMP spin while they wait for each other, which costs most where other
    # work has a core; the fits have threads of their own.
    with threadpool_limits(1), FreshInterpreter(job.python or sys.executable) as fresh:
        return _run(job, directory, fresh, StepWatch(progress, timer))


def _run(
    job: Job, directory: artifact.Folder, fresh: FreshInterpreter, watch: StepWatch
) -> Candidate:
    rows = _rows(job, watch)
    trainer = scaled_trainer(job, rows)
    watch.step("out-of-fold")
    given, twin = fit_twin(rows, trainer, job.rule_settings)
    watch.step("judge")
    if not job.backtest:
        fresh.start()  # it imports while one core judges, and while the refit is fitted
    predict, signal = twin.stack.predict, twin.signal
    train, test = (_scores(predict, signal, rows, p, job) for p in (rows.train, rows.test))
    watch.step("champion")
    comparison, champion = _against_champion(rows, given, trainer, job)
    gates = judge(_evidence(rows, twin, (train, test), comparison, job), job.limits)
    shipped = _refit(rows, given, trainer, job, watch) if _all_passed(gates) else twin
    watch.step("save")
    version = _version(shipped, rows, job)
    artifact.save_model(directory, version)
    look = functools.partial(_findings, rows, given, twin, job)
    prove = functools.partial(
        proofs.prove, version, directory, rows.features, fresh, job.onnx_python
    )
    found, drawn, proved = _shown(look, prove if _proof_needed(job, gates) else None, job, watch)
    proved = proved or proofs.left_out(version, directory)
    watch.step("done")
    gates += judge_shipped(_shipped(proved, twin, shipped, rows), job.limits)
    meta = certificate(
        version,
        rows,
        gates,
        {"train": train, "test": test, "champion": champion},
        forms={"joblib": proved.joblib, "onnx": proved.onnx},
        anchors=provenance.anchors(job.frame),
        findings=found,
        timings=watch.seconds,
        settings=_settings(job, rows, trainer.recipe),
    )
    page = NO_REPORT if job.backtest else render(meta, drawn)
    return Candidate(artifact.seal(directory, version, meta, page), meta, gates)


def _shown(
    look: Callable[[], dict[str, Any]],
    prove: Callable[[], proofs.Proofs] | None,
    job: Job,
    watch: StepWatch,
) -> tuple[dict[str, Any], dict[str, str], proofs.Proofs | None]:
    """Return findings, plots and proofs; a backtest has no use for the first two."""
    # Other processes prove the forms while this one draws the report.
    with ThreadPoolExecutor(1, initializer=threadpool_limits, initargs=(1, "openmp")) as beside:
        proving = beside.submit(prove) if prove else None
        watch.step("report")
        found = {} if job.backtest else look()
        drawn = {} if job.backtest else draw(found)
        watch.step("self-test")
        return found, drawn, proving.result() if proving else None


def _proof_needed(job: Job, gates: tuple[Gate, ...]) -> bool:
    """Return whether fresh interpreters load the files: in a backtest only its first model's.

    All later ones are written by the same libraries, and nobody loads a refused one.
    """
    return not job.backtest or (job.champion is None and _all_passed(gates))


def _all_passed(gates: tuple[Gate, ...]) -> bool:
    return all(gate.passed for gate in gates)


def _refit(
    rows: Rows, given: NDArray[np.float64], trainer: Trainer, job: Job, watch: StepWatch
) -> Model:
    watch.step("refit")
    return refit(rows, given, trainer, job.rule_settings)


def _rows(job: Job, watch: StepWatch) -> Rows:
    return dataset.build(
        job.frame,
        job.horizon_bars,
        job.threshold,
        job.previous_threshold,
        watch.step,
        computed=job.computed,
    )


def _findings(rows: Rows, given: NDArray[np.float64], twin: Model, job: Job) -> dict[str, Any]:
    return findings.find(
        rows, job.close_ms, given, twin, champion=job.champion, fee_bps=job.round_trip_bps
    )


def _evidence(
    rows: Rows, twin: Model, scores: tuple[Scores, Scores], comparison: Comparison, job: Job
) -> Evidence:
    train, test = scores
    return Evidence(
        train=train,
        test=test,
        label_faults=dataset.label_faults(rows, np.asarray(job.frame["close"], dtype=float)),
        leaked_rows=dataset.leaked_rows(rows, twin.stop),
        parity=dataset.parity(rows, job.frame, job.computed),
        champion=comparison,
        quietest=(twin.rule.down.quietest, 1.0, twin.rule.up.quietest),
        learnt=twin.learnt,
        provenance=provenance.compare(job.champion.anchors if job.champion else (), job.frame),
    )


def _scores(predict: Predict, signal: SignalThreshold, rows: Rows, part: slice, job: Job) -> Scores:
    return score(
        rows.labels[part],
        predict(rows.features[part]),
        rows.future_return[part],
        prior=shares(rows.labels[rows.train]),
        up=signal.up,
        down=signal.down,
        horizon_bars=rows.horizon_bars,
        fee_bps=job.round_trip_bps,
        seed=job.seed,
    )


def _against_champion(
    rows: Rows, given: NDArray[np.float64], trainer: Trainer, job: Job
) -> tuple[Comparison, Scores | None]:
    """Compare with the champion where possible, and score it on the same rows."""
    if job.champion is None:
        return Comparison(skipped="there is no champion yet"), None
    fresh = champion_rows(job.champion, rows, job.close_ms, job.schema_hash)
    if isinstance(fresh, str):
        return Comparison(skipped=fresh), None
    comparison = compare(job.champion.predict, rows, fresh, given, trainer)
    signal = SignalThreshold(job.champion.up, job.champion.down)
    part = slice(fresh.start, fresh.stop)
    return comparison, _scores(job.champion.predict, signal, rows, part, job)


def _version(model: Model, rows: Rows, job: Job) -> artifact.Version:
    newest = rows.bars[model.stop - 1] + rows.horizon_bars
    picked = np.linspace(0, len(rows.labels) - 1, GOLDEN_ROWS).astype(int)
    golden = rows.features[picked]
    value = rows.threshold.value
    return artifact.Version(
        at_ms=job.at_ms,
        slot=job.slot,
        interval=job.interval,
        model=model.stack.model,
        feature_cols=features.NAMES,
        schema_hash=job.schema_hash,
        computer=job.computed.name if job.computed else BUILTIN,
        up=model.signal.up,
        down=model.signal.down,
        decision_rule=model.rule.as_dict(),
        horizon_bars=rows.horizon_bars,
        threshold=value if rows.threshold.kind == "fixed" else f"vol:{value:g}",
        trained_to_ms=int(job.close_ms[newest]),
        golden_rows=golden,
        golden_probabilities=model.stack.predict(golden),
        git_commit=job.git_commit,
        parts=described(model.stack),
    )


def _shipped(proved: proofs.Proofs, twin: Model, shipped: Model, rows: Rows) -> Shipped:
    joblib, onnx, size, done = proved.joblib, proved.onnx, proved.size_bytes, proved.done
    shown = Shipped(joblib=joblib, onnx=onnx, size_bytes=size, proved=done)
    if shipped is twin:
        return shown
    judged = rows.features[rows.test]
    before, after = twin.stack.predict(judged), shipped.stack.predict(judged)
    lean = [p[:, UP] - p[:, DOWN] for p in (before, after)]
    return replace(
        shown,
        share_shift=share_shift(before, after, shares(rows.labels[rows.test])),
        lean_correlation=float(np.corrcoef(lean[0], lean[1])[0, 1]),
    )


def _in_force(job: Job, rows: Rows) -> float:
    """Return the label threshold of the newest bar that has one, a fraction of the price."""
    close = np.asarray(job.frame["close"], dtype=np.float64)
    limit = np.broadcast_to(rows.threshold.per_bar(close, rows.horizon_bars), close.shape)
    return float(limit[np.isfinite(limit)][-1])


def _settings(job: Job, rows: Rows, recipe: Recipe) -> dict[str, Any]:
    return {
        "horizon_bars": job.horizon_bars,
        "threshold": job.threshold,
        "threshold_kind": rows.threshold.kind,
        "threshold_value": rows.threshold.value,
        "threshold_in_force": _in_force(job, rows),
        "labels": rows.threshold.told(rows.horizon_bars),
        "min_signal_rate": job.min_signal_rate,
        "costs": asdict(job.costs),
        "round_trip_bps": job.round_trip_bps,
        "seed": job.seed,
        "reason": job.reason,
        "recipe": asdict(recipe),
        "scaled_down": list(notes(job.recipe, recipe, rows, len(job.frame["t"]))),
        "from_ms": int(job.frame["t"][0]),
        "to_ms": int(job.close_ms[-1]),
        "n_bars": len(job.frame["t"]),
    }
