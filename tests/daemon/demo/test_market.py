import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier

from daemon.demo.market import BASELINE_FUNDING, Recording, generate, load
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import HOUR_MS, INTERVAL_MS
from retrain import features
from tests.daemon.demo.markets import MINUTES_5, START_MS, market

DATA = Path(os.environ.get("HYPERDRIFT_DATA", "../shared/data/hyperliquid"))
HORIZON, THRESHOLD = 12, 0.005


@given(st.integers(0, 2**32), st.sampled_from(["1m", "5m", "1h", "12h", "1d"]), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_every_seed_gives_a_market_that_can_be_written_cleanly(
    seed: int, interval: str, change_at: int
) -> None:
    made = generate(100, INTERVAL_MS[interval], seed, start_ms=START_MS, change_at=change_at)
    for prices in (made.open, made.high, made.low, made.close):
        digits = [repr(p).removesuffix(".0").replace(".", "").strip("0") for p in prices.tolist()]
        whole = [p == int(p) for p in prices.tolist()]
        assert all(w or len(d) <= 5 for d, w in zip(digits, whole, strict=True))
    assert all(len(repr(v).partition(".")[2]) <= 5 for v in made.volume.tolist())
    assert (made.n >= 4).all()
    assert ((made.funding_t % HOUR_MS >= 1) & (made.funding_t % HOUR_MS <= 450)).all()
    assert made.funding_t[0] < made.t[0]
    assert made.funding_t[-1] >= made.t[-1] - HOUR_MS


def test_a_seed_always_gives_the_same_market() -> None:
    one, two, other = market(500, seed=3), market(500, seed=3), market(500, seed=4)
    assert one.close.tolist() == two.close.tolist()
    assert one.funding_rate.tolist() == two.funding_rate.tolist()
    assert one.close.tolist() != other.close.tolist()


def test_nothing_changes_before_the_change() -> None:
    made = [
        generate(2000, MINUTES_5, 5, start_ms=START_MS, change_at=change) for change in (1500, None)
    ]
    for name in ("open", "high", "low", "close", "volume"):
        one, other = (getattr(recording, name) for recording in made)
        assert one[:1500].tolist() == other[:1500].tolist()
        assert one[1500:].tolist() != other[1500:].tolist()


def test_scale_of_returns_and_volume_rise_at_the_change() -> None:
    made = generate(8000, MINUTES_5, 11, start_ms=START_MS, change_at=4000)
    moves = np.abs(np.diff(np.log(made.close)))
    assert np.median(moves[4000:]) > 1.4 * np.median(moves[:4000])
    assert np.median(made.volume[4000:]) > 1.7 * np.median(made.volume[:4000])


def test_twenty_thousand_bars_take_less_than_two_seconds() -> None:
    began = time.perf_counter()
    generate(20_000, MINUTES_5, 1, start_ms=START_MS, change_at=12_000)
    assert time.perf_counter() - began < 2


def frame(recording: Recording) -> dict[str, object]:
    r = recording
    funding = features.funding_as_of(r.t + r.interval_ms, r.funding_t, r.funding_rate)
    none = np.zeros(len(r))
    names = ("t", "open", "high", "low", "close", "volume")
    columns = {name: getattr(r, name) for name in names}
    return {**columns, "funding": funding, "s_top": none, "s_bot": none}


def test_an_honest_model_finds_the_edge_and_the_change_turns_it_around() -> None:
    made = generate(10_000, MINUTES_5, 1, start_ms=START_MS, change_at=7_500)
    rows = features.compute(frame(made))[:-HORIZON]
    future = made.close[HORIZON:] / made.close[:-HORIZON] - 1
    labels = np.where(future > THRESHOLD, 2, np.where(future < -THRESHOLD, 0, 1))
    bar = np.arange(len(rows))
    known = np.isfinite(rows).all(axis=1)
    train, before, after = known & (bar < 5_500), (bar >= 5_512) & (bar < 7_488), bar >= 7_550
    model = ExtraTreesClassifier(100, max_depth=9, min_samples_leaf=20, random_state=0)
    model.fit(rows[train], labels[train])

    def scores(part: np.ndarray) -> tuple[float, float, float]:
        p, y = model.predict_proba(rows[part]), labels[part]
        shares = np.bincount(y, minlength=3) / y.size
        loss = -np.log(p[np.arange(y.size), y]).mean()
        lean = p[:, 2] - p[:, 0]
        skill = 1 - loss / -(shares * np.log(shares)).sum()
        return shares[1], skill, np.corrcoef(lean, future[part])[0, 1]

    neutral, skill, ic = scores(before)
    assert 0.62 < neutral < 0.80
    assert skill > 0.01
    assert 0.10 < ic < 0.35
    neutral, skill, ic = scores(after)
    assert 0.58 < neutral < 0.85
    assert skill < 0
    assert ic < -0.08


def test_an_interval_that_the_venue_does_not_have_is_refused() -> None:
    with pytest.raises(BadInput, match="7000 ms"):
        generate(100, 7_000, 1, start_ms=START_MS)


def written(folder: Path, name: str, recording: Recording) -> Path:
    names = ("t", "open", "high", "low", "close", "volume")
    path = folder / name
    table = pd.DataFrame({column: getattr(recording, column) for column in names})
    table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_says_coin_and_interval_by_its_name(tmp_path: Path, suffix: str) -> None:
    made = market(60, quiet=(7,))
    read = load(written(tmp_path, f"ETH-5m{suffix}", made))
    assert (read.coin, read.interval) == ("ETH", "5m")
    assert read.close.tolist() == made.close.tolist()
    assert read.n[7] == 0
    assert (np.delete(read.n, 7) >= 4).all()
    assert set(read.funding_rate.tolist()) == {BASELINE_FUNDING}
    assert read.funding_t[0] <= read.t[0]


def test_funding_is_read_from_the_file_beside(tmp_path: Path) -> None:
    path = written(tmp_path, "ETH-5m.parquet", market(60))
    times = [START_MS - HOUR_MS + 30, START_MS + 40]
    pd.DataFrame({"time": times, "rate": [1e-5, 2e-5]}).to_csv(
        tmp_path / "ETH-funding.csv", index=False
    )
    read = load(path)
    assert read.funding_t.tolist() == times
    assert read.funding_rate.tolist() == [1e-5, 2e-5]


def test_another_name_gives_the_coin_by_its_first_word(tmp_path: Path) -> None:
    path = written(tmp_path, "SOL_USDC_USDC-5m-futures.csv", market(60))
    read = load(path)
    assert (read.coin, read.interval) == ("SOL", "5m")
    assert load(path, coin="kPEPE").coin == "kPEPE"


def test_a_name_without_a_word_needs_the_coin(tmp_path: Path) -> None:
    path = written(tmp_path, "_.csv", market(60))
    with pytest.raises(BadInput, match="does not say its coin"):
        load(path)


def test_a_name_that_contradicts_the_bars_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "BTC-1h.csv", market(60))
    with pytest.raises(BadInput, match="holds bars of 5m, not 1h"):
        load(path)


def test_a_recorded_market_loads_whole() -> None:
    path = DATA / "BTC-5m.parquet"
    if not path.exists():
        pytest.skip(f"no recordings at {DATA}")
    read = load(path)
    assert (read.coin, read.interval, len(read)) == ("BTC", "5m", 38_531)
    assert len(read.funding_t) == 18_778
