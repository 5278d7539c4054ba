"""Run the swaps of `benchmarks.swap`; kill a process during some of them."""

import random
import time
from dataclasses import dataclass, field

from benchmarks.swap.setup import VICTIMS, PointerHistory, Reader, Settings, SwapSetup

SETTLE_S = 120.0


@dataclass
class SwapRecord:
    undisturbed: list[tuple[int, int]] = field(default_factory=list)  # order, acknowledgement
    undisturbed_ms: list[float] = field(default_factory=list)
    disturbed_ms: dict[str, list[float]] = field(
        default_factory=lambda: {role: [] for role in VICTIMS}
    )
    load_ms: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def play(
    setup: SwapSetup, pointer: PointerHistory, daemon: Reader, bot: Reader, settings: Settings
) -> SwapRecord:
    """Order one swap after another; wait each time until the bot has the live version."""
    rng, record = random.Random(settings.seed), SwapRecord()
    targets = sorted(
        p.stem.removeprefix("manifest_") for p in pointer.path.parent.glob("manifest_*")
    )
    fatal = set(rng.sample(range(settings.swaps), settings.kills))
    for number in range(settings.swaps):
        setup.check()
        target = rng.choice([t for t in targets if t != pointer.now])
        began = time.monotonic_ns()
        setup.order(target)
        victim = ""
        if number in fatal:
            victim = VICTIMS[len(setup.deaths) % 3]
            time.sleep(rng.uniform(0.0, 0.4))
            setup.kill(victim)
            time.sleep(rng.uniform(0.0, 0.5))
            setup.start(victim)
        settle(pointer, daemon, record, began, target, victim=victim)
        if victim:
            whole(setup, daemon, bot)
        time.sleep(rng.uniform(0.0, 0.1))
    return record


def whole(setup: SwapSetup, daemon: Reader, bot: Reader) -> None:
    """Wait until daemon and bot are connected to the broker again after the last kill."""
    died_ns, victim = setup.deaths[-1]
    waiting = {"daemon": [daemon], "bot": [bot], "broker": [daemon, bot]}[victim]
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        daemon.new()
        bot.new()
        if all(reader.connected_since(died_ns) for reader in waiting):
            return
        time.sleep(0.01)
    raise SystemExit(f"not everybody came back after the {victim} died")


def settle(
    pointer: PointerHistory,
    daemon: Reader,
    record: SwapRecord,
    began: int,
    target: str,
    *,
    victim: str,
) -> None:
    """Wait until a bot has acknowledged the version that the pointer names."""
    deadline = time.monotonic() + SETTLE_S
    restarted = False
    while time.monotonic() < deadline:
        for line in daemon.new():
            if line["event"] == "ready":
                restarted = True
            if line["event"] == "changed" and not line["ok"]:
                record.failed.append(line["error"])
                return
            if line["event"] != "ack":
                continue
            if line["status"] == "refused":
                record.refused.append(line["error"])
                continue
            if line["model"] != pointer.now or (line["model"] != target and not restarted):
                continue
            if victim:
                record.disturbed_ms[victim].append((time.monotonic_ns() - began) / 1e6)
            else:
                record.undisturbed.append((began, line["ns"]))
                record.undisturbed_ms.append(line["took_ms"])
                record.load_ms.append(line["load_ms"])
            return
        time.sleep(0.002)
    raise SystemExit(f"no bot took {target} within {SETTLE_S:g} s")
