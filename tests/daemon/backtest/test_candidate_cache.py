"""A candidate is trained once, whoever asks for it, and an interrupted one is trained again."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.backtest.candidate_cache import Candidates, forget_beyond
from daemon.core.errors import RetrainFailedError, UnfitBars
from daemon.core.subprocesses import Limits
from daemon.training.jobs import ChallengeOutcome, JobOutcome, Jobs
from daemon.training.training import calibration_name

SPEC = {"slot": "BTC-5m", "at_ms": 1_760_000_000_000, "reason": "a test"}


def frame(bars: int = 30) -> dict[str, np.ndarray[Any, Any]]:
    return {"t": np.arange(bars), "close": np.full(bars, 100.0)}


class SlowJobs(Jobs):
    """Jobs that end when they are let go, with a candidate that a gate refused, or fail."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, Limits())
        self.asked: list[str] = []
        self.under_way = self.most = 0
        self.go, self.fails = asyncio.Event(), False
        self.error = RetrainFailedError
        self.specs: list[Mapping[str, Any]] = []

    async def retrain(self, job_id: str, spec: Any, frame: Any, on_line: Any) -> JobOutcome:
        self.asked.append(job_id)
        self.specs.append(spec)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.go.wait()
        finally:
            self.under_way -= 1
        if self.fails:
            raise self.error("it ran out of its memory")
        return JobOutcome(Path(), Path(), f"m{len(self.asked)}", False, ("overfit",), (), 1.0)

    async def challenge(self, job_id: str, spec: Any, frame: Any) -> ChallengeOutcome:
        self.asked.append(job_id)
        return ChallengeOutcome(True, "it helps", 300, 0.5, 0.4, 0.45)


class PassingJobs(Jobs):
    """Jobs whose candidates pass; `told` has what they did, in order."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, Limits())
        self.told = list[str]()

    async def retrain(self, job_id: str, spec: Any, frame: Any, on_line: Any) -> JobOutcome:
        folder = self._root / job_id / "candidate"
        folder.mkdir(parents=True)
        on_line({"event": "progress", "step": "refit", "percent": 80.0})
        await asyncio.sleep(0)  # what was begun meanwhile begins
        self.told.append("trained")
        return JobOutcome(folder, Path(), "m1", True, (), (), 1.0)

    async def calibrate(self, job_id: str, false_alarms_per_month: float) -> str:
        self.told.append(f"calibrated to {false_alarms_per_month}")
        return "a calibration"


class FailingJobs(Jobs):
    """Jobs that leave their bars behind, as a child that died does."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, Limits())
        self.left: list[Path] = []

    def _fail(self, job_id: str) -> RetrainFailedError:
        self.left.append(self._root / job_id)
        self.left[-1].mkdir()
        (self.left[-1] / "bars.npz").write_bytes(b"bars")
        return RetrainFailedError("it ran out of its memory")

    async def retrain(self, job_id: str, spec: Any, frame: Any, on_line: Any) -> JobOutcome:
        raise self._fail(job_id)

    async def challenge(self, job_id: str, spec: Any, frame: Any) -> ChallengeOutcome:
        raise self._fail(job_id)


def candidates(root: Path, jobs: Jobs) -> Candidates:
    return Candidates(root, jobs, 1.0, "a slot")


async def ask(cache: Candidates, champion: str = "", bars: int = 30) -> str:
    judged = await cache.judged({**SPEC, "champion": champion}, frame(bars), champion, print)
    return judged.model_id


async def begun(*tasks: asyncio.Task[Any], jobs: SlowJobs, count: int) -> None:
    async with asyncio.timeout(60):
        while len(jobs.asked) < count:
            await asyncio.wait(tasks, timeout=0.01)


async def test_two_policies_that_want_the_same_candidate_train_it_once(tmp_path: Path) -> None:
    jobs = SlowJobs(tmp_path)
    cache = candidates(tmp_path, jobs)
    both = [asyncio.create_task(ask(cache)) for _ in range(2)]
    await begun(*both, jobs=jobs, count=1)
    jobs.go.set()
    assert await asyncio.gather(*both) == ["m1", "m1"]
    assert len(jobs.asked) == 1


async def test_same_bars_with_another_champion_wait_for_the_fits_of_the_first(
    tmp_path: Path,
) -> None:
    jobs = SlowJobs(tmp_path)
    cache = candidates(tmp_path, jobs)
    asked = [asyncio.create_task(ask(cache, name)) for name in ("a", "b")]
    await begun(*asked, jobs=jobs, count=1)
    jobs.go.set()
    assert sorted(await asyncio.gather(*asked)) == ["m1", "m2"]
    assert jobs.most == 1
    assert {spec["fits"] for spec in jobs.specs} == {str(tmp_path / "fits" / "a slot")}


async def test_other_bars_are_trained_beside_each_other(tmp_path: Path) -> None:
    jobs = SlowJobs(tmp_path)
    cache = candidates(tmp_path, jobs)
    asked = [asyncio.create_task(ask(cache, bars=bars)) for bars in (30, 31)]
    await begun(*asked, jobs=jobs, count=2)
    jobs.go.set()
    await asyncio.gather(*asked)
    assert jobs.most == 2


async def test_after_a_kill_what_was_done_is_found_and_what_was_not_is_trained(
    tmp_path: Path,
) -> None:
    jobs = SlowJobs(tmp_path)
    jobs.go.set()
    assert await ask(candidates(tmp_path, jobs)) == "m1"
    jobs.go.clear()
    killed = asyncio.create_task(ask(candidates(tmp_path, jobs), "m1", bars=31))
    await begun(killed, jobs=jobs, count=2)
    killed.cancel()
    await asyncio.wait([killed])
    jobs.go.set()
    again = candidates(tmp_path, jobs)
    assert await ask(again) == "m1"
    assert len(jobs.asked) == 2, "found"
    assert await ask(again, "m1", bars=31) == "m3"


async def test_a_failure_is_the_same_for_all_policies_and_tried_again_by_another_run(
    tmp_path: Path,
) -> None:
    jobs = SlowJobs(tmp_path)
    jobs.go.set()
    jobs.fails, cache = True, candidates(tmp_path, jobs)
    for _ in range(2):
        with pytest.raises(RetrainFailedError, match="out of its memory"):
            await ask(cache)
    assert len(jobs.asked) == 1
    jobs.fails = False
    assert await ask(candidates(tmp_path, jobs)) == "m2"


async def test_a_quick_challenger_is_asked_once(tmp_path: Path) -> None:
    jobs = SlowJobs(tmp_path)
    for _ in range(2):
        answer = await candidates(tmp_path, jobs).challenged(SPEC, frame(), "m1")
        assert answer == ChallengeOutcome(True, "it helps", 300, 0.5, 0.4, 0.45)
    assert len(jobs.asked) == 1


async def test_bars_are_calibrated_once_by_the_jobs_and_beside_the_refit(tmp_path: Path) -> None:
    jobs = PassingJobs(tmp_path)
    cache = candidates(tmp_path, jobs)
    folders = [(await cache.judged(SPEC, frame(), name, print)).folder for name in "ab"]
    assert jobs.told == ["calibrated to 1.0", "trained", "trained"], "the same for all champions"
    assert {(folder / calibration_name("m1")).read_text() for folder in folders} == {
        "a calibration"
    }


async def test_bars_that_are_unfit_are_tried_once(tmp_path: Path) -> None:
    jobs = SlowJobs(tmp_path)
    jobs.go.set()
    jobs.fails, jobs.error = True, UnfitBars
    for cache in (candidates(tmp_path, jobs), candidates(tmp_path, jobs)):
        for _ in range(2):
            with pytest.raises(UnfitBars, match="it ran out of its memory"):
                await ask(cache)
    assert len(jobs.asked) == 1


async def test_a_failed_job_leaves_no_bars_behind(tmp_path: Path) -> None:
    jobs = FailingJobs(tmp_path)
    cache = candidates(tmp_path, jobs)
    with pytest.raises(RetrainFailedError):
        await ask(cache)
    with pytest.raises(RetrainFailedError):
        await cache.challenged(SPEC, frame(), "a")
    assert len(jobs.left) == 2
    assert not any(folder.exists() for folder in jobs.left)


def test_of_too_many_candidates_those_not_used_for_longest_go(tmp_path: Path) -> None:
    for used_s, name in ((3, "a"), (1, "b"), (2, "c"), (4, "cell-d")):
        verdict = tmp_path / name / ("cell.json" if name == "cell-d" else "verdict.json")
        (verdict.parent / "candidate").mkdir(parents=True)
        (verdict.parent / "candidate" / "model").write_bytes(bytes(1000))
        verdict.write_text("{}")
        os.utime(verdict, (used_s, used_s))
    assert forget_beyond(tmp_path, 3500) == 0
    assert forget_beyond(tmp_path, 2500) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c", "cell-d"]
    assert forget_beyond(tmp_path, 0) == 2
    assert (tmp_path / "cell-d").exists(), "finished cells are small, and kept"
