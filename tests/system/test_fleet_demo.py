"""A small fleet as a new user runs it: `make demo ARGS="--coins 8"`, watched from outside."""

import contextlib
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.system.exchange_process import ROOT
from tests.system.watched_demo import leftovers

pytestmark = pytest.mark.fleet

COINS = 8
LIMIT_S = 720.0  # three to five minutes if nothing else runs
HUNG_S = LIMIT_S + 120
PATHS = f"{ROOT}{os.pathsep}{ROOT / 'client'}"


def words_of_make() -> list[str]:
    """Return what `make demo ARGS="--coins 8"` runs, after the name of the program."""
    line = ("make", "--no-print-directory", "-n", "demo", f"ARGS=--coins {COINS}")
    said = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (command,) = re.findall(r"^\S*/hyperdrift (demo .*)$", said, re.MULTILINE)
    return shlex.split(command)


@dataclass
class Watch:
    """A running demo, and what its page, `hyperdrift status` and the list of processes showed."""

    folder: Path
    first_page: str = ""
    overviews: list[dict[str, Any]] = field(default_factory=list)
    status: str = ""
    parallel: int = 0
    most_at_once: int = 0

    @property
    def told(self) -> str:
        return (self.folder / "story.txt").read_text()

    @property
    def environment(self) -> dict[str, str]:
        """An environment in which nothing but new, empty folders is there to be written."""
        own = {"HOME": "home", "TMPDIR": "tmp", "XDG_CACHE_HOME": "home", "XDG_CONFIG_HOME": "home"}
        places = {name: str(self.folder / folder) for name, folder in own.items()}
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HYPERDRIFT_")}
        return kept | places | {"PYTHONPATH": PATHS}

    def look(self) -> None:
        """Look at everything once."""
        self.most_at_once = max(self.most_at_once, len(jobs_of(self.folder)))
        found = re.search(r"page  (http://\S+/)", self.told)
        if found is None:
            return
        with contextlib.suppress(OSError):  # the page is not up yet, or not any more
            self.overviews.append(json.loads(fetched(f"{found[1]}api/v1/overview")))
            if not self.first_page and live_slots(self.overviews[-1]):
                self.first_page = fetched(found[1])
                self.ask_status()

    def ask_status(self) -> None:
        """Ask with the command that a user has for it."""
        (config,) = (self.folder / "tmp").glob("hyperdrift-demo-*/hyperdrift.toml")
        self.parallel = tomllib.loads(config.read_text())["retrain"]["parallel"]
        command = (sys.executable, "-m", "daemon.cli", "status", "--config", str(config))
        self.status = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True
        ).stdout


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def live_slots(overview: dict[str, Any]) -> list[str]:
    return [one["slot"] for one in overview["slots"] if one["state"] and one["state"]["model_id"]]


def jobs_of(folder: Path) -> set[str]:
    """Return the folders of the jobs that children of demos in `folder` train in now."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            for module, job in itertools.pairwise(words):
                if module == "retrain" and job.startswith(f"{folder}/"):
                    found.add(job)
    return found


@dataclass(frozen=True)
class Ended:
    """What the demo said at its end, and what was seen of it."""

    summary: dict[str, Any]
    seen: Watch


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("fleet")
    for name in ("home", "tmp", "work"):
        (folder / name).mkdir()
    watch, deadline = Watch(folder), time.monotonic() + HUNG_S
    command = (sys.executable, "-m", "daemon.cli", *words_of_make())
    limits = ("--timeout", str(LIMIT_S), "--json")
    with (folder / "summary.json").open("w") as out, (folder / "story.txt").open("w") as story:
        demo = subprocess.Popen(
            (*command, *limits),
            stdout=out,
            stderr=story,
            cwd=folder / "work",
            env=watch.environment,
        )
        try:
            while demo.poll() is None:
                assert time.monotonic() < deadline, watch.told
                watch.look()
                time.sleep(0.5)
        finally:
            demo.terminate()
            demo.wait(60)
    assert demo.returncode == 0, watch.told
    return Ended(json.loads((folder / "summary.json").read_text()), watch)


def test_half_of_eight_slots_swap_and_the_end_says_so(ended: Ended) -> None:
    summary, told = ended.summary, ended.seen.told
    assert summary["ended"] == "swap"
    assert "end  a whole cycle is done: drift or a command, retrain, gates, swap" in told
    swapped = [one for one in summary["slots"] if later_swaps(one)]
    assert len(swapped) >= COINS / 2
    for one in swapped:
        last = later_swaps(one)[-1]
        assert last["trigger"] in {"drift", "win_rate", "command"}
        assert all(gate["passed"] for gate in last["gates"])
        assert 0 < last["order_to_ack_ms"] < 5000
    for one in summary["slots"]:
        assert one["store"]["equal_to_recording"]
        assert one["bars"] > 100


def later_swaps(slot: dict[str, Any]) -> list[dict[str, Any]]:
    return [swap for swap in slot["swaps"] if swap["trigger"] != "first"]


def test_each_slot_is_on_the_page_in_the_status_and_in_the_table_at_the_end(ended: Ended) -> None:
    seen = ended.seen
    slots = {one["slot"] for one in ended.summary["slots"]}
    assert len(slots) == COINS
    assert {one["slot"] for one in seen.overviews[-1]["slots"]} == slots
    _, _, table = seen.told.partition(" slot ")
    for slot in slots:
        assert slot in seen.first_page
        assert re.search(rf"^{slot}: ", seen.status, re.MULTILINE)
        assert re.search(rf"^ *{slot} ", table, re.MULTILINE)


def test_each_slot_gets_a_model_or_says_why_not(ended: Ended) -> None:
    states = {one["slot"]: one["state"] for one in ended.seen.overviews[-1]["slots"]}
    for one in ended.summary["slots"]:
        state, retrains = states[one["slot"]], one["retrains"]
        assert retrains, f"{one['slot']} was never trained"
        if not any(model["live"] for model in one["models"]):
            assert not any(retrain["passed"] for retrain in retrains)
            assert state["refusal"]["refused_by"]
            assert state["refusal"]["detail"]
            assert f"{one['slot']:<9} FAIL  {state['refusal']['detail']}" in ended.seen.told


def test_their_retrains_go_through_one_queue(ended: Ended) -> None:
    seen = ended.seen
    assert 1 <= seen.most_at_once <= seen.parallel < COINS
    waited = set()
    for overview in seen.overviews:
        for one in overview["slots"]:
            if (job := (one["state"] or {}).get("retrain")) and job["step"] == "waiting":
                waited.add((one["slot"], job["place"]))
    assert len({slot for slot, _ in waited}) >= COINS - seen.parallel
    assert max(place for _, place in waited) >= COINS - seen.parallel - 1
    assert len(set(ended.summary["order"])) >= COINS / 2


def test_it_leaves_nothing_behind_and_writes_nothing_beside_its_folder(ended: Ended) -> None:
    folder = ended.seen.folder
    assert not leftovers(folder / "tmp")
    assert not jobs_of(folder)
    for name in ("home", "tmp", "work"):
        assert not list((folder / name).iterdir()), name
