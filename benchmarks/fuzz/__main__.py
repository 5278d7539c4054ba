"""Give mutated real inputs to everything that reads text from outside.

python -m benchmarks.fuzz [--tries 200000] [--seed 1] [--only NAME,...] [--jobs N] [--json]

A decoder may accept a text, or refuse it by one of our own errors. Any other error is a crash,
also the end of the process. Then the decoder, the seed and the shortest text that does it are
printed, and the exit code is 1. The same seed gives each decoder the same texts.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.fuzz.campaign import FuzzCrash, FuzzTally, shares
from benchmarks.fuzz.workers import every_decoder, fuzz_in_processes


def document(
    tallies: dict[str, FuzzTally], crashes: list[FuzzCrash], seed: int, seconds: float
) -> dict[str, Any]:
    """Return the findings as one JSON document."""
    tries = sum(tally.tries for tally in tallies.values())
    return {
        "seed": seed,
        "tries": tries,
        "seconds": round(seconds, 1),
        "per_second": round(tries / seconds),
        "decoders": {
            name: {
                "accepted": t.accepted,
                "refused": t.refused,
                "crashed": t.crashed,
                "per_second": round(t.tries / t.seconds) if t.seconds else 0,
            }
            for name, t in tallies.items()
        },
        "crashes": [asdict(c) | {"shortest": repr(c.shortest)} for c in crashes],
        "sound": not crashes,
    }


def show(found: dict[str, Any], crashes: list[FuzzCrash]) -> None:
    """Print the findings for people."""
    print(f"seed {found['seed']}: {found['tries']} texts in {found['seconds']} s")
    print(f"  {'decoder':24}{'accepted':>10}{'refused':>10}{'crashed':>10}{'a second':>10}")
    for name, row in found["decoders"].items():
        print(f"  {name:24}" + "".join(f"{number:10}" for number in row.values()))
    for crash in crashes:
        print(f"CRASH {crash}")
    print("sound" if found["sound"] else "NOT sound")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="comma-separated names; all by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=where) as folder:
        decoders = every_decoder(Path(folder) / "names")
        wanted = set(filter(None, given.only.split(",")))
        if unknown := wanted - {decoder.name for decoder in decoders}:
            sys.exit(f"there is no decoder {', '.join(unknown)}")
        tries = shares([d for d in decoders if not wanted or d.name in wanted], given.tries)
        began = time.perf_counter()
        tallies, crashes = fuzz_in_processes(Path(folder), tries, given.seed, given.jobs)
    found = document(tallies, crashes, given.seed, time.perf_counter() - began)
    if given.json:
        print(json.dumps(found))
    else:
        show(found, crashes)
    sys.exit(0 if found["sound"] else 1)


if __name__ == "__main__":
    main()
