"""A grid by the command line on a cluster, against the same grid on this host.

It is interrupted, goes on, loses a worker, and then has one policy more.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.store.data_folder import open_store
from hyperdrift.slot_name import SlotName
from tests.daemon.backtest.test_backtest import GATES, fill
from tests.retrain.market import Frame
from tests.retrain.planted import planted
from tests.system.dask_cluster import PATHS, Attempt, DaskCluster

pytestmark = pytest.mark.fleet

# ETH has no bars of an hour: two cells of a policy have no figures, wherever it runs.
SLOTS = tuple(map(SlotName.parse, ("BTC-5m", "BTC-1h", "ETH-5m")))
GRID = ("--coin", "*", "--interval", "5m,1h", "--horizon", "4,6", "--days", "1.2")
ONE, BOTH = ("--policy", "never"), ("--policy", "never,daily")
BARS, END_MS = 3750, 1_760_000_400_000
# Of a day and some hours, `daily` retrains once at 5m; at 1h the new bars are too few.
POLICY = {"min_bars": 3400, "min_new_bars": 144, "cooldown_hours": 1, "probation_hours": 1}
LIMIT_S = 900  # of a busy host
# How long a run took, and where its files are. All else is the same wherever it ran.
OF_THE_RUN = frozenset({"training_s", "engine_s", "kept", "report", "seconds"})


def market(slot: SlotName, seed: int) -> Frame:
    frame = planted(BARS, seed, strength=1.6e-3)
    frame["t"] = END_MS - np.arange(BARS, 0.0, -1.0) * slot.interval_ms
    return frame


@dataclass(frozen=True)
class Told:
    """What a command said, and the code that it ended with."""

    code: int
    out: str
    err: str

    @property
    def table(self) -> str:
        """The output without the line that says where the pages are."""
        return re.sub(r"reports?: .*", "", self.out)


class Grid:
    """A data folder with its configuration, and the commands that run on it.

    Args:
        folder: Where it is made.
        bars: A data folder with bars, which is copied.
        python: What trains on this host.
    """

    def __init__(self, folder: Path, bars: Path, python: Path) -> None:
        self._config, self._said = folder / "hyperdrift.toml", folder / "stderr.txt"
        self.kept, self.page = folder / "data" / "backtest", folder / "grid.html"
        self.trained_here = self.kept / "matplotlib" / "trained"
        folder.mkdir()
        shutil.copytree(bars, folder / "data")
        sections: dict[str, dict[str, Any]] = {
            "daemon": {"data_dir": str(folder / "data")},
            "retrain": {"python": str(python), "nice": 0},
            "policy": POLICY,
            "gates": GATES,
        }
        lines = [
            f'[[slots]]\ncoin = "{slot.coin}"\ninterval = "{slot.interval}"\nthreshold = 0.005'
            for slot in SLOTS
        ]
        for name, section in sections.items():
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in section.items())]
        self._config.write_text("\n".join(lines))

    def run(
        self, *words: str, meanwhile: Callable[["subprocess.Popen[str]"], Any] = lambda _: None
    ) -> Told:
        """Run a backtest to its end."""
        line = ("-m", "daemon.cli", "backtest", "--config", str(self._config), *GRID, *words)
        with self._said.open("w") as errors:
            process = subprocess.Popen(
                (sys.executable, *line),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | PATHS,
            )
            try:
                meanwhile(process)
                out, _ = process.communicate(timeout=LIMIT_S)
            finally:
                process.kill()
                process.communicate()
        return Told(process.returncode, out, self._said.read_text())

    def stop_after_a_cell(self, process: "subprocess.Popen[str]") -> None:
        """Interrupt a command once it says that a cell is done."""
        deadline = time.monotonic() + LIMIT_S
        while "cells done" not in self._said.read_text():
            assert process.poll() is None, self._said.read_text()
            assert time.monotonic() < deadline, self._said.read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)

    def candidates(self) -> set[str]:
        """Return the names of those that are finished and kept."""
        return {path.parent.name for path in self.kept.glob("*/verdict.json")}

    def digests(self) -> dict[str, str]:
        """Return the digest of each file of a model, by its candidate and its name."""
        files = (p for p in self.kept.glob("*/candidate/*") if p.suffix in {".joblib", ".onnx"})
        return {
            str(path.relative_to(self.kept)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }


def figures(told: Told) -> Any:
    """Return the document of a run, with what happened in each cell, without what is its own."""
    document = json.loads(told.out)
    for coin in document["coins"]:
        for cell in coin["policies"]:
            if cell["failed"] is None:
                cell["record"] = json.loads(Path(cell["kept"]).read_text())["record"]
    return without_the_run(document)


def without_the_run(found: Any) -> Any:
    if isinstance(found, list):
        return [without_the_run(each) for each in found]
    if isinstance(found, dict):
        return {k: without_the_run(v) for k, v in found.items() if k not in OF_THE_RUN}
    return found


@dataclass(frozen=True)
class Places:
    """The same bars twice."""

    here: Grid
    there: Grid


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    folder = tmp_path_factory.mktemp("grid")
    with open_store(folder / "bars") as store:
        for seed, slot in enumerate(SLOTS):
            fill(store, market(slot, seed + 1), BARS, slot)
    # A child of this host may write into few folders; that of its plots is one.
    note = '[ "$1 $2" = "-m retrain" ] && echo "$@" >>"$MPLCONFIGDIR/trained"'
    python = folder / "python"
    python.write_text(f'#!/bin/sh\n{note}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    here, there = (Grid(folder / name, folder / "bars", python) for name in ("here", "there"))
    return Places(here, there)


@dataclass(frozen=True)
class Step:
    """A run on the cluster, the candidates after it, and the jobs that workers began for it."""

    told: Told
    candidates: set[str]
    attempts: list[Attempt]

    @property
    def begun(self) -> set[str]:
        return {attempt.job for attempt in self.attempts}


@dataclass(frozen=True)
class Story:
    """All that happened on the cluster, in its order."""

    stopped: Step
    robbed: Step
    lost: str
    shared: Step


@pytest.fixture(scope="module")
def story(places: Places, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder, there = tmp_path_factory.mktemp("machines"), places.there
    with DaskCluster.running(folder / "dask", ("first", "second")) as cluster:
        backend = ("--backend", cluster.address)
        before, lost = 0, list[str]()

        def step(told: Told) -> Step:
            nonlocal before
            cluster.wait_idle()
            attempts = cluster.attempts()
            before, since = len(attempts), attempts[before:]
            return Step(told, there.candidates(), since)

        stopped = step(there.run(*ONE, *backend, meanwhile=there.stop_after_a_cell))
        robbed = step(
            there.run(*ONE, *backend, meanwhile=lambda _: lost.append(cluster.kill_a_busy_one()))
        )
        cluster.begin(lost[0])
        shared = step(there.run(*BOTH, *backend, "--page", str(there.page)))
    return Story(stopped, robbed, lost[0], shared)


@pytest.fixture(scope="module")
def on_this_host(places: Places, story: Story) -> Told:
    """Run the whole grid here, in a folder of its own, after the cluster had its turn."""
    assert not places.there.trained_here.exists(), "the cluster's grid was trained on this host"
    told = places.here.run(*BOTH, "--backend", "local", "--page", str(places.here.page))
    assert places.here.trained_here.exists(), "what trains on this host notes it"
    return told


@pytest.fixture(scope="module")
def there_as_json(places: Places, story: Story) -> Told:
    """Ask for the document of the cluster's grid, of which each cell is done."""
    assert story.shared.told.code == 0, story.shared.told.err
    return places.there.run(*BOTH, "--json")


def test_an_interruption_keeps_the_finished_cells_and_the_same_command_goes_on(
    story: Story,
) -> None:
    stopped, robbed = story.stopped, story.robbed
    assert stopped.told.code == 130
    said = r"(\d) of 8 cells are done and kept; the same command goes on from here"
    kept = re.search(said, stopped.told.err)
    assert kept is not None, stopped.told.err
    assert 1 <= int(kept[1]) < 6
    count = f"{kept[1]} of 8 cells"
    assert f"an interrupted backtest goes on: {count} are done, bars until " in robbed.told.err
    assert f"{count} were done before" in robbed.told.err
    assert stopped.candidates
    assert not stopped.candidates & robbed.begun, "what is kept is not made again"


def test_a_worker_that_is_killed_costs_an_attempt_and_no_cell(story: Story) -> None:
    robbed = story.robbed
    assert robbed.told.code == 0, robbed.told.err
    assert "8 cells were tried, 6 have figures" in robbed.told.out
    logged = [json.loads(line) for line in robbed.told.err.splitlines() if line.startswith("{")]
    assert {one["worker"] for one in logged if one["event"] == "fleet.lost"} == {story.lost}
    lost = {each.job for each in robbed.attempts if each.worker == story.lost and not each.made}
    again = {each.job for each in robbed.attempts if each.worker != story.lost} & lost
    assert again, "the other worker did what this one lost"
    assert again <= robbed.candidates


def test_each_candidate_was_made_by_a_worker(story: Story) -> None:
    steps = (story.stopped, story.robbed, story.shared)
    made = {each.job for step in steps for each in step.attempts if each.made}
    assert made == story.shared.candidates
    assert len(made) == 10, "a first one for each slot and horizon, and more for `daily` at 5m"


def test_another_policy_trains_only_what_no_other_has_trained(
    story: Story, there_as_json: Told
) -> None:
    robbed, shared = story.robbed, story.shared
    assert shared.told.code == 0, shared.told.err
    assert "6 of 16 cells were done before" in shared.told.err
    assert shared.begun == shared.candidates - robbed.candidates
    for coin in figures(there_as_json)["coins"]:
        if coin["slot"] == "ETH-1h":
            continue
        never, daily = (cell["record"]["trained"] for cell in coin["policies"])
        assert daily[0] == never[0], "both have the first model"
        assert (len(never), len(daily)) == (1, 2 if coin["slot"].endswith("5m") else 1)


def test_the_table_the_page_and_the_figures_are_those_of_the_grid_on_this_host(
    places: Places, story: Story, on_this_host: Told, there_as_json: Told
) -> None:
    here, there = places.here, places.there
    assert on_this_host.code == 0
    assert there.candidates() == here.candidates()
    assert there.digests() == here.digests()
    assert {Path(name).suffix for name in here.digests()} == {".joblib", ".onnx"}
    assert story.shared.told.table == on_this_host.table
    assert there.page.read_bytes() == here.page.read_bytes()
    assert figures(there_as_json) == figures(here.run(*BOTH, "--json"))


def test_what_workers_made_serves_this_host_too(places: Places, there_as_json: Told) -> None:
    before, candidates = figures(there_as_json), places.there.candidates()
    for cell in places.there.kept.glob("cell-*"):
        shutil.rmtree(cell)
    again = places.there.run(*BOTH, "--backend", "local", "--json")
    assert figures(again) == before
    assert places.there.candidates() == candidates
    assert not places.there.trained_here.exists(), "none was trained again"
