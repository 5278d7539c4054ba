"""What fails for ever is a result, and what failed for a while is tried again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.backtest.market_replay import Market
from daemon.backtest.policy_run import Run
from daemon.backtest.results import Counts, failure_of
from daemon.core.errors import RetrainFailedError, UnfitBars
from monitor.policy import PolicySettings
from tests.daemon.backtest.made_up_grid import FIRST_T, configured

BARS = 40


class NoCandidates:
    """Every job ends with the same error."""

    def __init__(self, error: RetrainFailedError) -> None:
        self._error = error

    async def judged(self, *_: Any) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "is_whole"), [(UnfitBars("UP is too rare"), True), (RetrainFailedError("OOM"), False)]
)
async def test_only_a_failure_that_lasts_leaves_a_record_whole(
    tmp_path: Path, error: RetrainFailedError, is_whole: bool
) -> None:
    used = configured(tmp_path, "BTC")
    slot = used.slots[0].name
    times = FIRST_T + slot.interval_ms * np.arange(BARS)
    columns = {name: np.full(BARS, 100.0) for name in ("open", "high", "low", "close", "volume")}
    frame = {"t": times, **columns}
    market = Market(slot, frame, np.zeros((BARS, 17)))
    run = Run(
        market,
        used,
        used.slots[0],
        PolicySettings(min_bars=20),
        NoCandidates(error),  # type: ignore[arg-type]
        history_bars=20,
    )
    await run.through(lambda _: None, lambda _: None)
    assert [item["error"] for item in run.record.trained] == [str(error)]
    assert run.record.is_whole is is_whole
    assert (Counts.of(run.record).refusals, Counts.of(run.record).failures) == (0, 1)
    failed = failure_of(run.record)
    assert failed is not None
    assert failed.reason == f"every retrain failed, the last: {error}"
    assert failed.exit_code == (2 if is_whole else 1)
