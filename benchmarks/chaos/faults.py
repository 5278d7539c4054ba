"""Do the faults of a plan of `benchmarks.chaos`, and note their times."""

import asyncio
import subprocess
import time

from benchmarks.chaos.fault_group import FaultGroup
from benchmarks.chaos.file_faults import FileFaults
from benchmarks.chaos.plan import WORK, Planned
from benchmarks.chaos.process_faults import ProcessFaults
from benchmarks.chaos.promotion import promote
from benchmarks.chaos.setup import SLOT, ChaosSetup, FaultDone
from benchmarks.chaos.verdicts import Occurrence


class ChaosFaults:
    """Does several faults at once; faults that exclude each other wait."""

    def __init__(self, setup: ChaosSetup) -> None:
        self._setup = setup
        self._groups = (ProcessFaults(setup), FileFaults(setup), NetworkFaults(setup), Work(setup))

    async def do(self, planned: Planned) -> None:
        """Do one fault, and note when it began and ended, or why it could not be done."""
        setup, kind = self._setup, planned.kind
        if planned.is_of_exchange:
            setup.note(f"fault {kind} begins", **planned.details)
            await asyncio.sleep(planned.for_s)
            setup.note(f"fault {kind} ends")
            return
        group, act = next((g, act) for g in self._groups if (act := g.find(kind)))
        began = time.time()
        said = await act(planned)
        began, ended = group.began.pop(kind, began), time.time()
        details = {k: v for k, v in planned.details.items() if k != "draw"}
        setup.note(f"fault {kind} {said or 'done'}", **details)
        if kind in WORK:
            return
        if kind in {"child_kill", "child_hang"}:
            began = ended  # before that there was no child
        touched = 0 if said.startswith("untouched") else None
        setup.faults_done.append(
            FaultDone(Occurrence(kind, began, ended, touched), said if "missed" in said else "")
        )


class NetworkFaults(FaultGroup):
    def __init__(self, setup: ChaosSetup) -> None:
        super().__init__(setup)
        self._network = asyncio.Lock()

    async def link_down(self, planned: Planned) -> str:
        async with self._one_at_a_time(self._network, planned):
            _run("ip", "link", "set", "lo", "down")
            try:
                await asyncio.sleep(planned.for_s)
            finally:
                _run("ip", "link", "set", "lo", "up")
        return f"for {planned.for_s:g} s"

    async def link_slow(self, planned: Planned) -> str:
        async with self._one_at_a_time(self._network, planned):
            # All processes together send about 80 kbit/s, five times this limit.
            limit = ("rate", "16kbit", "burst", "3kb", "latency", "3s")
            _run("tc", "qdisc", "replace", "dev", "lo", "root", "tbf", *limit)
            try:
                await asyncio.sleep(planned.for_s)
            finally:
                _run("tc", "qdisc", "del", "dev", "lo", "root")
        return f"for {planned.for_s:g} s"

    async def malformed_messages(self, _: Planned) -> str:
        for topic in ("command", "trade", "prediction", "model/ack", "bot"):
            self._setup.listener.publish(f"hyperdrift/{SLOT}/{topic}", {"t": "?", "command": 3})
        return "done"


class Work(FaultGroup):
    """Work that the faults should meet; it is no fault itself."""

    async def promote(self, planned: Planned) -> str:
        return await promote(self._setup, planned)

    async def retrain(self, _: Planned) -> str:
        self._setup.command("retrain")
        return "asked for"


def _run(*command: str) -> None:
    subprocess.run(command, check=False, capture_output=True)
