"""Compare the stack with its parts on the newest fifth of several windows of recorded candles.

python -m benchmarks.stack --data BTC-5m.parquet HYPE-5m.parquet [--interval 1h]
    [--threshold vol:0.8] [--json]

A file is named after its slot; its funding rates are read from COIN-funding.parquet beside it
if there are any. Rows, labels and recipe are those of a retrain; nothing is refit and saved.
"""

import argparse
import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.retrain import read
from daemon.config.schema import LABEL_DEFAULTS
from hyperdrift.slot_name import SlotName
from retrain import dataset, features, labels
from retrain.deciding.expectation import RuleSettings
from retrain.errors import RetrainError
from retrain.scores import paired_difference, row_log_loss, score
from retrain.stacking.meta import CLASSES
from retrain.stacking.scaling import scaled
from retrain.stacking.stack import BASE_NAMES, Recipe, Trainer
from retrain.stacking.twin import fit_twin

WINDOWS = ("0-50", "0-75", "0-100", "25-75", "50-100")


@dataclass(frozen=True)
class Block:
    """One judged block.

    Log losses in nats, `bases` by name. `against_best` is relative to the best of them, chosen
    in hindsight, with a 95 % interval that ignores that choice. `calibration`, as the
    gate judges it, and `ece` are those of the worst class. `neutral` is the share of NEUTRAL in
    the training block and in the judged one.
    """

    block: str
    train_rows: int
    test_rows: int
    neutral: tuple[float, float]
    prior: float
    bases: dict[str, float]
    average: float
    stack: float
    against_best: float
    against_best_interval: tuple[float, float]
    against_average: float
    calibration: float
    ece: float
    calibration_of_average: float
    ece_of_average: float

    def line(self) -> str:
        figures = (self.prior, min(self.bases.values()), self.average, self.stack)
        low, high = self.against_best_interval
        return (
            f"| {self.block} | {self.train_rows} | {self.test_rows} | "
            + " | ".join(f"{loss:.4f}" for loss in figures)
            + f" | {self.against_best:+.2%} ({low:+.1%} to {high:+.1%}) "
            f"| {self.against_average:+.2%} | {self.calibration:.3f} | {self.ece:.3f} "
            f"| {self.calibration_of_average:.3f} | {self.neutral[0]:.0%} {self.neutral[1]:.0%} |"
        )


def measure(name: str, frame: dataset.Frame, interval: str, setting: str) -> Block:
    """Fit the twin of a retrain on one window, and score it and its parts on the test block."""
    horizon, threshold = LABEL_DEFAULTS[interval]
    rows = dataset.build(frame, horizon, setting or threshold, None, lambda _step: None)
    recipe = scaled(Recipe(), len(rows.labels[rows.train]))
    given, twin = fit_twin(rows, Trainer(recipe, features.NAMES, 2), RuleSettings())
    truth, test = rows.labels[rows.test], rows.test
    prior = labels.shares(rows.labels[rows.train])
    parts = given[test].reshape(len(truth), len(BASE_NAMES), CLASSES)
    losses = {b: row_log_loss(truth, parts[:, i]) for i, b in enumerate(BASE_NAMES)}
    best = min(losses.values(), key=np.mean)
    answers = twin.stack.predict(rows.features[test]), parts.mean(axis=1)
    stack, average = (
        score(truth, p, rows.future_return[test], prior=prior, up=1, down=1, horizon_bars=horizon)
        for p in answers
    )
    _, interval = paired_difference(row_log_loss(truth, answers[0]), best, horizon)
    scale = float(best.mean())
    return Block(
        block=name,
        train_rows=len(rows.labels[rows.train]),
        test_rows=len(truth),
        neutral=(float(prior[labels.NEUTRAL]), stack.class_shares[labels.NEUTRAL]),
        prior=stack.log_loss / (1 - stack.skill),
        bases={b: float(loss.mean()) for b, loss in losses.items()},
        average=average.log_loss,
        stack=stack.log_loss,
        against_best=stack.log_loss / scale - 1,
        against_best_interval=(interval.low / scale, interval.high / scale),
        against_average=stack.log_loss / average.log_loss - 1,
        calibration=max(stack.calibration),
        ece=max(stack.ece),
        calibration_of_average=max(average.calibration),
        ece_of_average=max(average.ece),
    )


def windows(data: Path, interval: str, asked: list[str]) -> Iterator[tuple[str, dataset.Frame]]:
    slot = SlotName.parse(data.stem)
    made = SlotName(slot.coin, interval or slot.interval)
    funding = data.with_name(f"{slot.coin}-funding.parquet")
    frame = read(data, funding if funding.exists() else None, made.interval_ms)
    n = len(frame["t"])
    for window in asked:
        start, stop = (n * int(percent) // 100 for percent in window.split("-"))
        yield f"{made} {window} %", {name: column[start:stop] for name, column in frame.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="COIN-INTERVAL.parquet")
    parser.add_argument("--interval", default="", help="put the bars together to longer ones")
    parser.add_argument("--threshold", default="", help="of the labels: auto or vol:0.8")
    parser.add_argument("--windows", nargs="+", default=list(WINDOWS), help="percent, FROM-TO")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    found, skipped = [], {}
    if not args.json:
        print("| block | trained | judged | prior | best base | average | stack", end=" ")
        print("| against best | against average | calibration | ECE | its average | NEUTRAL |")
        print("|" + "---|" * 13)
    for data in args.data:
        for name, frame in windows(data, args.interval, args.windows):
            try:
                slot = SlotName.parse(name.split()[0])
                found.append(measure(name, frame, slot.interval, args.threshold))
            except RetrainError as e:
                skipped[name] = str(e).splitlines()[0]
                continue
            if not args.json:
                print(found[-1].line(), flush=True)
    if args.json:
        print(json.dumps({"blocks": [asdict(one) for one in found], "skipped": skipped}, indent=1))
    for name, why in () if args.json else skipped.items():
        print(f"{name}: {why}")


if __name__ == "__main__":
    main()
