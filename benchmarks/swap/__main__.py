"""Make a thousand swaps under load, while `kill -9` ends daemon, bot or broker.

A bot predicts every bar while a daemon's registry, serving and swap coordinator swap its model
through a real mosquitto. A second bot, the peer, predicts the same bars. It checks the model file
on every bar and reloads it with `joblib.load` in its own loop.

    python -m benchmarks.swap --swaps 1000 --kills 60 --json
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.swap.judgement import answers, percentiles, stalls, takeovers, torn
from benchmarks.swap.processes import SLOT, rows
from benchmarks.swap.sequence import SwapRecord, play, settle
from benchmarks.swap.setup import PointerHistory, Reader, Settings, SwapSetup
from daemon.registry.registry import Registry
from daemon.registry.signing import Signer, generate
from retrain import features
from tests.daemon.versions import START_MS, write_version


def prepare(folder: Path, settings: Settings) -> dict[str, np.ndarray]:
    """Adopt versions of real forests; return the answers of each to the benchmark's rows."""
    generate(folder / "hyperdrift.key", folder / "hyperdrift.pub")
    registry = Registry(folder / "models", Signer.load(folder / "hyperdrift.key"))
    rng = np.random.default_rng(settings.seed)
    names = list(features.NAMES)
    x = pd.DataFrame(rng.normal(size=(3000, len(names))), columns=names)
    asked = pd.DataFrame(rows(), columns=names)
    expected = {}
    for number in range(settings.versions):
        y = np.clip(np.round(x["mom_1"] + rng.normal(size=len(x))) + 1, 0, 2).astype(int)
        model = estimator(settings.trees, number).fit(x, y)
        manifest = write_version(folder / "candidates", number, model=model)
        model_id = registry.adopt(SLOT, manifest)
        expected[model_id] = model.predict_proba(asked)
        if number == 0:
            registry.deploy(SLOT, model_id, reason="first", by="benchmark", at_ms=START_MS)
    return expected


def estimator(trees: int, seed: int) -> Any:
    if trees:
        return RandomForestClassifier(trees, max_depth=10, min_samples_leaf=20, random_state=seed)
    return make_pipeline(StandardScaler(), LogisticRegression())


def run(folder: Path, settings: Settings) -> dict[str, Any]:
    expected = prepare(folder, settings)
    setup, daemon = SwapSetup(folder, settings), Reader(folder / "daemon.jsonl")
    pointer = PointerHistory(folder / "models" / str(SLOT) / "LATEST.json")
    began = time.monotonic()
    try:
        for role in ("broker", "daemon", "bot", *(["peer"] if settings.peer else [])):
            setup.start(role)
        setup.load()
        settle(pointer, daemon, SwapRecord(), time.monotonic_ns(), pointer.now, victim="daemon")
        record = play(setup, pointer, daemon, Reader(folder / "bot.jsonl"), settings)
        time.sleep(0.5)
        end_ns = time.monotonic_ns()
    finally:
        setup.stop()
        pointer.stop()
    return report(
        folder=folder,
        settings=settings,
        setup=setup,
        pointer=pointer,
        record=record,
        expected=expected,
        end_ns=end_ns,
    ) | {"seconds": round(time.monotonic() - began, 1)}


def report(
    *,
    folder: Path,
    settings: Settings,
    setup: SwapSetup,
    pointer: PointerHistory,
    record: SwapRecord,
    expected: dict[str, np.ndarray],
    end_ns: int,
) -> dict[str, Any]:
    size = sum(f.stat().st_size for f in pointer.path.parent.glob("*.joblib")) / settings.versions
    found: dict[str, Any] = {
        "load_average": [round(x, 1) for x in os.getloadavg()],
        "swaps": len(record.undisturbed_ms) + sum(map(len, record.disturbed_ms.values())),
        "kills": {
            role: sum(r == role for _, r in setup.deaths) for role in ("daemon", "bot", "broker")
        },
        "model_mib": round(size / 2**20, 2),
        "order_to_ack_ms": percentiles(record.undisturbed_ms),
        "load_ms": percentiles(record.load_ms),
        "order_to_ack_over_a_kill_ms": {
            victim: percentiles(took) for victim, took in record.disturbed_ms.items()
        },
        "refused": record.refused,
        "failed": record.failed,
    }
    for role in ("bot", "peer") if settings.peer else ("bot",):
        log_file = Reader(folder / f"{role}.jsonl")
        lines = log_file.new()
        deaths = [ns for ns, victim in setup.deaths if victim == role]
        found[role] = answers(lines, deaths, end_ns, settings.bar_s)
        found[role]["loop_stall_ms"] = stalls(lines, record.undisturbed)
        found[role] |= {"torn": torn(lines, expected), **takeovers(lines, pointer.history)}
        if role == "peer":
            found[role]["failed_reloads"] = sum(line["event"] == "failed" for line in lines)
            found[role]["load_ms"] = percentiles(
                [x["load_ms"] for x in lines if x["event"] == "reloaded"]
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--trees", type=int, default=0, help="forests, not logistic")
    parser.add_argument("--load", type=int, default=2)
    parser.add_argument("--bar-s", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-peer", dest="peer", action="store_false")
    parser.add_argument("--keep", type=Path, help="a folder for the log files, to look into")
    parser.add_argument("--json", action="store_true")
    options = vars(parser.parse_args())
    as_json, keep = options.pop("json"), options.pop("keep")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as stack:
        if keep is None:
            keep = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="swap-")))
        keep.mkdir(parents=True, exist_ok=True)
        found = run(keep, Settings(**options))
    print(json.dumps(found, indent=None if as_json else 2))


if __name__ == "__main__":
    main()
