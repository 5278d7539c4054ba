"""Do random faults for fifteen minutes, several at once, and check the result.

python -m benchmarks.chaos [--minutes 15] [--seed 1] [--every-s 5] [--json]

It runs the real daemon, the reference paper bot, a real mosquitto and the replay exchange with a
fault script. They have a small disk and a network of their own (Linux namespaces, with or without
root). Processes are killed and hung, the disk is filled and files are damaged. The link is cut and
the exchange sends wrong data. Then the faults end, and everything has a minute to recover.
A second pass repeats, one at a time, each fault that no line of the journal reports; it takes ten
minutes at most. Last, it asks for a retrain.

At the end the store must equal what the exchange serves and the live model must answer. The
retrain must make a candidate. The journal must report each occurrence of each fault that met
anything. If not, it prints a list and exits with code 1.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.chaos import plan
from benchmarks.chaos.faults import ChaosFaults
from benchmarks.chaos.judgement import judge
from benchmarks.chaos.second_pass import retrain, second_pass
from benchmarks.chaos.setup import ChaosSetup, prepare
from benchmarks.chaos.traces import AWAY
from daemon.core import logs

NAMESPACE = "HYPERDRIFT_CHAOS_NAMESPACE"
LEAD_S = 10.0
"""Seconds until the first fault, in which the daemon starts."""
RECOVER_S = 120.0
"""Seconds after the last fault until everything must work again."""


async def survive(
    folder: Path, *, seconds: float, seed: int, every_s: float, speed: float = 300.0,
    kinds: tuple[str, ...] = (), namespace: bool = False, calm_s: float = 60.0,
    second_pass_s: float = 600.0,
) -> dict[str, Any]:  # fmt: skip
    """Run everything; return the findings.

    Args:
        folder: Holds all files; must be empty.
        seconds: The time in which faults begin, s.
        seed: Seed of the market and of the faults.
        every_s: Mean time from one fault to the next, s.
        speed: Venue seconds per wall second.
        kinds: Kinds of faults; all that are possible on this machine by default.
        namespace: Whether the run has a disk and a network of its own.
        calm_s: Time without a new fault at the end, s.
        second_pass_s: Longest time of the second pass, s. With 0, an unreported fault is no
            violation, and no retrain is asked for.
    """
    possible = tuple(k for k in (kinds or plan.ALL) if namespace or k not in plan.NEEDS_NAMESPACE)
    planned = plan.draw(seed, seconds, every_s, possible)
    total_s = LEAD_S + seconds + calm_s + 2 * RECOVER_S + second_pass_s
    setup = await asyncio.to_thread(prepare, folder, total_s, speed, seed, namespace=namespace)
    await setup.open(plan.script(planned, LEAD_S, speed))
    setup.began = time.monotonic()
    async with setup.running():
        await _inflict(setup, planned)
        setup.note("no more faults")
        await asyncio.sleep(calm_s)
        recovered_s = calm_s + await setup.well(RECOVER_S)
        began, is_asked = setup.elapsed(), second_pass_s > 0
        again = await second_pass(setup, planned, seed, second_pass_s)
        setup.retrained = await retrain(setup) if is_asked else None
        second_pass_s = setup.elapsed() - began
        recovered_s = max(recovered_s, await setup.well(RECOVER_S))
        await asyncio.sleep(3)
        truth = setup.truth()
        await setup.caught_up(max(truth), RECOVER_S)
        setup.daemon_was_ready = setup.daemon.is_ready
        setup.stop_s = await _stop(setup)
    found = await asyncio.to_thread(judge, setup, planned, truth, each=is_asked)
    if recovered_s >= calm_s + RECOVER_S:
        found["violated"].append(f"recovery: not all was well within {recovered_s:.0f} s")
        found["sound"] = False
    return {
        "seed": seed, "seconds": seconds, "faults_planned": len(planned), "namespace": namespace,
        "recovered_within_s": round(recovered_s, 1), "encore": again,
        "encore_s": round(second_pass_s), **found,
    }  # fmt: skip


async def _inflict(setup: ChaosSetup, every: list[plan.Planned]) -> None:
    faults = ChaosFaults(setup)
    async with asyncio.TaskGroup() as tasks:
        for planned in every:
            await asyncio.sleep(max(0.0, LEAD_S + planned.at_s - setup.elapsed()))
            tasks.create_task(faults.do(planned), name=planned.kind)


async def _stop(setup: ChaosSetup) -> float:
    setup.daemon._may_run.clear()  # noqa: SLF001
    took_s = await setup.daemon.stop()
    setup.note("daemon stopped", after_s=round(took_s, 2))
    return took_s


def in_namespace() -> bool:
    """Run on in a mount and network namespace of our own, if the kernel allows it."""
    if os.environ.get(NAMESPACE):
        # With the large default packets, a slow link would pass either none or all of them.
        subprocess.run(["ip", "link", "set", "lo", "up", "mtu", "1500"], check=True)
        return True
    if not all(map(shutil.which, ("unshare", "ip", "tc", "mount"))):
        return False
    become = ["unshare", "--mount", "--net", *(() if os.geteuid() == 0 else ["--map-root-user"])]
    trial = [*become, "sh", "-c", "ip link set lo up && mount -t tmpfs none /mnt"]
    if subprocess.run(trial, capture_output=True, check=False).returncode:
        return False
    command = [*become, sys.executable, "-m", "benchmarks.chaos", *sys.argv[1:]]
    return os.execvpe("unshare", command, os.environ | {NAMESPACE: "1"})


def show(found: dict[str, Any]) -> None:
    """Print the findings for people."""
    faults = found["faults"]["table"]
    print(f"\nseed {found['seed']}: {found['faults_planned']} faults in {found['seconds']:g} s")
    columns = ("done", "told", "masked", "untouched", "untold", "missed")
    print(f"  {'fault':20}" + "".join(f"{name:>10}" for name in columns))
    for kind, row in faults.items():
        print(f"  {kind:20}" + "".join(f"{row[name]:10}" for name in columns))
    print("  masked, and by what:")
    masked = found["faults"]["masked"]
    for one in masked:
        print(f"    {one['at_s']:5} s  {one['kind']:20} {one['by']}")
    for name in sorted({name for one in masked for name in one["by"].split()}):
        print(f"    {name}: {AWAY[name]}")
    print(f"  repeated alone, {found['encore_s']} s: {', '.join(found['encore']) or 'none'}")
    for part in ("store", "scored", "model", "bot", "processes"):
        print(f"  {part}: {json.dumps(found[part])}")
    print(f"  all well {found['recovered_within_s']:g} s after the last fault")
    for text in found["violated"]:
        print(f"  VIOLATED  {text}")
    print("sound" if found["sound"] else f"NOT sound; --seed {found['seed']} does it again")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="of random faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every-s", type=float, default=5.0)
    parser.add_argument("--speed", type=float, default=300.0)
    parser.add_argument("--kinds", default="", help="comma-separated; all by default")
    parser.add_argument("--keep", type=Path, help="a folder for logs and timeline, to look into")
    parser.add_argument("--encore-s", type=float, default=600.0, help="longest second pass")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    logs.configure(logging.ERROR)  # for the listener in this process
    namespace = in_namespace()
    if not namespace:
        left_out = ", ".join(plan.NEEDS_NAMESPACE)
        print(f"no namespace can be made here: without {left_out}", file=sys.stderr)
    calm_s = min(60.0, given.minutes * 60 / 5)
    with contextlib.ExitStack() as stack:
        folder = given.keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-"))
        )
        folder.mkdir(parents=True, exist_ok=True)
        print(f"seed {given.seed}, in {folder}", file=sys.stderr)
        kinds = tuple(filter(None, given.kinds.split(",")))
        found = asyncio.run(
            survive(
                folder,
                seconds=given.minutes * 60 - LEAD_S - calm_s,
                seed=given.seed,
                every_s=given.every_s,
                speed=given.speed,
                kinds=kinds,
                namespace=namespace,
                calm_s=calm_s,
                second_pass_s=given.encore_s,
            )
        )
        if namespace:
            subprocess.run(["umount", "--lazy", folder / "disk"], check=False)
    if given.json:
        print(json.dumps(found))
    else:
        show(found)
    sys.exit(0 if found["sound"] else 1)


if __name__ == "__main__":
    main()
