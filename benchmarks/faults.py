"""Plant each fault into whole runs on several markets, and count by which gates it is refused.

python -m benchmarks.faults [--data BTC-5m.parquet --other HYPE-5m.parquet]
    [--threshold 0.005] [--json]

A fault counts as caught only if the gate for it refuses, and if the run without a fault passed that
gate on the same bars; otherwise a market on which nothing passes would catch everything. Models
have fewer and smaller trees than in a real retrain, because only the gates are measured.
"""

import argparse
import json
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.retrain import read
from retrain import artifact
from retrain.job import Job
from tests.retrain.faults import FAULTS, Market, Memory, run, run_with
from tests.retrain.market import Frame, cut
from tests.retrain.planted import SMALL, planted

HORIZON_BARS, THRESHOLD = 12, 0.005
NONE_NAMED = f"default:{THRESHOLD}"
PLANTED_BARS, PLANTED_HORIZON = 4_000, 6


def job(frame: Frame, horizon_bars: int, seed: int, threshold: float | str = THRESHOLD) -> Job:
    return Job(
        slot="TEST-5m",
        interval="5m",
        horizon_bars=horizon_bars,
        threshold=threshold,
        at_ms=int(frame["t"][-1]),
        frame=frame,
        seed=seed,
        recipe=SMALL,
        fits=Memory(),
    )


def made_up(seeds: int) -> Iterator[tuple[str, Job, Frame]]:
    """Markets with a signal; the other coin has none, at the same times."""
    for seed in range(1, seeds + 1):
        frame, other = planted(PLANTED_BARS, seed), planted(PLANTED_BARS, 100 + seed, strength=0)
        yield f"made up {seed}", job(frame, PLANTED_HORIZON, seed), other


def recorded(
    data: Path, other: Path, windows: int, bars: int, threshold: float | str
) -> Iterator[tuple[str, Job, Frame]]:
    """Windows of one recording, the newest first, with another coin's bars of the same times."""
    frame, beside = (read(p, p.with_name(f"{p.stem[:-3]}-funding.parquet")) for p in (data, other))
    common = np.intersect1d(frame["t"], beside["t"])
    own, its = (cut_to(one, common) for one in (frame, beside))
    for k in range(windows):
        stop = len(common) - k * bars
        window = slice(stop - bars, stop)
        yield (
            f"{data.stem} {k + 1}",
            job(cut(own, window.start, window.stop), HORIZON_BARS, k, threshold),
            cut(its, window.start, window.stop),
        )


def cut_to(frame: Frame, times: np.ndarray) -> Frame:
    kept = np.isin(frame["t"], times)
    return {name: column[kept] for name, column in frame.items()}


def measure(made: Job, other: Frame) -> dict[str, list[str]]:
    """Return the gates that refuse each fault, and under `honest` the run without one."""
    with tempfile.TemporaryDirectory() as folder:
        honest = run(made, Path(folder))
        name = artifact.manifest_name(honest.manifest["model_id"])
        market = Market(made, other, artifact.read_champion(Path(folder) / name))
    found = {"honest": list(honest.refused_by)}
    print(f"  honest: {', '.join(found['honest']) or 'passed'}", file=sys.stderr)
    for fault in FAULTS:
        found[fault.name] = list(run_with(fault, market).refused_by)
        print(f"  {fault.name}: {', '.join(found[fault.name]) or 'PASSED'}", file=sys.stderr)
    return found


def table(markets: dict[str, dict[str, list[str]]]) -> list[dict[str, object]]:
    lines = []
    for fault in FAULTS:
        refusals = {name: found[fault.name] for name, found in markets.items()}
        caught = [
            bool(set(by) & set(fault.named_by) - set(markets[name]["honest"]))
            for name, by in refusals.items()
        ]
        lines.append(
            {
                "fault": fault.name,
                "named_by": list(fault.named_by),
                "markets": len(markets),
                "refused": sum(bool(by) for by in refusals.values()),
                "refused_by_a_gate_that_names_it": sum(caught),
                "gates": dict(Counter(gate for by in refusals.values() for gate in by)),
            }
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="recorded candles; made up without")
    parser.add_argument("--other", type=Path, help="another coin's candles of the same times")
    parser.add_argument("--markets", type=int, default=3, help="windows of the data, or seeds")
    parser.add_argument("--bars", type=int, default=5_000, help="in each window")
    parser.add_argument(
        "--threshold", default="", help="of the labels; without, what fits the coin"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if (args.data is None) != (args.other is None):
        parser.error("--data and --other go together")
    warnings.simplefilter("ignore")
    jobs = (
        recorded(args.data, args.other, args.markets, args.bars, args.threshold or NONE_NAMED)
        if args.data
        else made_up(args.markets)
    )
    markets = {}
    for name, made, other in jobs:
        print(name, file=sys.stderr)
        markets[name] = measure(made, other)
    lines = table(markets)
    honest = {name: found["honest"] for name, found in markets.items()}
    if args.json:
        print(json.dumps({"honest_refused_by": honest, "faults": lines}, indent=1))
        return
    print("| fault | named by | refused | by a gate that names it | all gates that refused |")
    print("|---|---|---|---|---|")
    for line in lines:
        gates = ", ".join(f"{name} {count}" for name, count in line["gates"].items())
        counts = f"{line['refused']}/{line['markets']}"
        named = f"{line['refused_by_a_gate_that_names_it']}/{line['markets']}"
        print(f"| {line['fault']} | {', '.join(line['named_by'])} | {counts} | {named} | {gates} |")
    for name, by in honest.items():
        print(f"honest on {name}: {'refused by ' + ', '.join(by) if by else 'passed'}")


if __name__ == "__main__":
    main()
