"""A real freqtrade trades what the exported predictions say, and nothing else.

`make freqtrade` names the interpreter that has it. Its backtests run offline, on made-up candles.
"""

import json
import os
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from daemon.registry.registry import Registry
from daemon.registry.signing import Signer, generate
from hyperdrift import PointerSlot
from hyperdrift.slot_name import SlotName
from retrain import features
from tests.daemon.versions import write_version

ROOT = Path(__file__).parents[2]
STRATEGY = ROOT / "examples" / "freqtrade"
PYTHON = str(Path(named).absolute()) if (named := os.environ.get("HYPERDRIFT_NEIGHBOURS")) else ""
STEP_MS, START_MS, BARS = 300_000, 1_760_000_400_000, 760
PAIRS = {"BTC": "BTC/USDC:USDC", "ETH": "ETH/USDC:USDC", "kPEPE": "KPEPE/USDC:USDC"}
DOWN, NEUTRAL, UP = 0, 1, 2

pytestmark = pytest.mark.skipif(not PYTHON, reason="`make freqtrade` names the interpreter")


@dataclass
class Bot:
    """A folder of freqtrade: candles, predictions and a configuration."""

    root: Path

    @property
    def predictions(self) -> Path:
        return self.root / "predictions"

    def candles(self, seed: int = 0) -> pd.DataFrame:
        close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.0003, BARS)))
        open_ = np.concatenate(([100.0], close[:-1]))
        return pd.DataFrame(
            {
                "date": pd.to_datetime(START_MS + np.arange(BARS) * STEP_MS, unit="ms", utc=True),
                "open": open_,
                "high": np.maximum(open_, close) * 1.0001,
                "low": np.minimum(open_, close) * 0.9999,
                "close": close,
                "volume": 100.0,
            }
        )

    def write(self) -> None:
        folder = self.root / "data" / "futures"
        folder.mkdir(parents=True)
        self.predictions.mkdir()
        for seed, pair in enumerate(PAIRS.values()):
            name, table = pair.translate(str.maketrans("/:", "__")), self.candles(seed)
            hours = table[table["date"].dt.minute == 0].reset_index(drop=True)
            table.to_feather(folder / f"{name}-5m-futures.feather")
            hours.to_feather(folder / f"{name}-1h-futures.feather")
            rates = hours[["date"]].assign(funding_rate=1e-6)
            for column in ("open", "high", "low", "close", "volume"):  # as older ones store it
                rates[column] = rates["funding_rate"]
            rates.to_feather(folder / f"{name}-1h-funding_rate.feather")
        config: dict[str, Any] = {
            "trading_mode": "futures",
            "margin_mode": "isolated",
            "stake_currency": "USDC",
            "stake_amount": 100,
            "dry_run_wallet": 10_000,
            "max_open_trades": 3,
            "dataformat_ohlcv": "feather",
            "entry_pricing": {"price_side": "other"},
            "exit_pricing": {"price_side": "other"},
            "exchange": {"name": "hyperliquid", "pair_whitelist": list(PAIRS.values())},
            "pairlists": [{"method": "StaticPairList"}],
            "hyperdrift": {"predictions": str(self.predictions)},
        }
        (self.root / "config.json").write_text(json.dumps(config))

    def say(self, coin: str, decisions: dict[int, int]) -> None:
        """Store predictions of bars, by their place in the candles, as the export writes them."""
        t = [START_MS + place * STEP_MS for place in decisions]
        table = pd.DataFrame({"t": t, "model_id": "m", "decision": list(decisions.values())})
        table.to_feather(self.predictions / f"{coin}-5m.feather")

    def backtest(self, *more: str) -> list[dict[str, Any]]:
        """Return the trades that freqtrade made, oldest first."""
        done = subprocess.run(
            [
                *(PYTHON, str(ROOT / "tests" / "system" / "freqtrade_offline.py"), "backtesting"),
                *("--config", "config.json", "--userdir", ".", "--datadir", "data"),
                *("--strategy", "HyperdriftStrategy", "--strategy-path", str(STRATEGY)),
                *("--export", "trades", "--cache", "none", *more),
            ],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (found,) = (self.root / "backtest_results").glob("*.zip")
        with zipfile.ZipFile(found) as whole:
            (name,) = (n for n in whole.namelist() if n == f"{found.stem}.json")
            trades = json.loads(whole.read(name))["strategy"]["HyperdriftStrategy"]["trades"]
        found.unlink()
        return sorted(trades, key=lambda trade: trade["open_timestamp"])


def place(trade: dict[str, Any], which: str = "open") -> int:
    """Return the candle in whose beginning a trade was opened or closed."""
    return int(trade[f"{which}_timestamp"] - START_MS) // STEP_MS


@pytest.fixture
def bot(tmp_path: Path) -> Bot:
    made = Bot(tmp_path)
    made.write()
    for coin in PAIRS:
        made.say(coin, {})
    return made


def test_a_backtest_trades_both_sides_where_the_predictions_say_and_nowhere_else(bot: Bot) -> None:
    bot.say("BTC", {560: UP, 563: DOWN, 570: NEUTRAL, 600: DOWN, 640: UP})
    bot.say("kPEPE", {700: DOWN})
    trades = bot.backtest()
    assert [(t["pair"], place(t), t["is_short"]) for t in trades] == [
        (PAIRS["BTC"], 561, False),
        (PAIRS["BTC"], 564, True),
        (PAIRS["BTC"], 601, True),
        (PAIRS["BTC"], 641, False),
        (PAIRS["kPEPE"], 701, True),
    ]
    ends = [(place(t, "close"), t["exit_reason"]) for t in trades[:3]]
    assert ends == [(564, "exit_signal"), (576, "roi"), (613, "roi")]


def test_no_trade_is_opened_before_the_bar_that_was_predicted_has_closed(bot: Bot) -> None:
    rng = np.random.default_rng(3)
    said = {
        int(p): int(rng.integers(3)) for p in rng.choice(np.arange(520, 755), 80, replace=False)
    }
    bot.say("BTC", said)
    trades = bot.backtest()
    assert len(trades) > 20
    for trade in trades:
        # The bar before the one in whose beginning it was opened: that has closed, no later one.
        assert said[place(trade) - 1] == (DOWN if trade["is_short"] else UP)


def test_an_answer_that_comes_a_bar_earlier_would_be_seen(bot: Bot) -> None:
    bot.say("BTC", {600: UP})
    (honest,) = bot.backtest()
    bot.say("BTC", {599: UP})
    (early,) = bot.backtest()
    assert (place(honest), place(early)) == (601, 600)


def deployed(root: Path) -> tuple[Path, Path]:
    """Put a real version live; return the models folder and the daemon's public key."""
    private, public = root / "private.pem", root / "public.pem"
    generate(private, public)
    registry, slot = Registry(root / "models", Signer.load(private)), SlotName("BTC", "5m")
    model_id = registry.adopt(slot, write_version(root / "candidate", 1, portable=True))
    registry.deploy(slot, model_id, reason="t", by="t", at_ms=START_MS)
    return root / "models", public


@pytest.mark.parametrize(("move", "side"), [(2.5, UP), (0.1, DOWN), (1.0, NEUTRAL)])
def test_a_dry_run_asks_the_live_model_with_the_features_of_the_daemon(
    tmp_path: Path, move: float, side: int
) -> None:
    bars = Bot(tmp_path).candles()
    bars.loc[BARS - 1, ["high", "low", "close"]] *= move
    bars.to_feather(tmp_path / "candles.feather")
    hours = bars["date"].dt.floor("h").drop_duplicates().reset_index(drop=True)
    rates = np.random.default_rng(5).normal(0, 1e-5, len(hours))
    pd.DataFrame({"date": hours, "open": rates}).to_feather(tmp_path / "rates.feather")
    models, key = deployed(tmp_path)
    script = ROOT / "tests" / "system" / "freqtrade_live.py"
    arguments = [STRATEGY, models, key, tmp_path / "candles.feather", tmp_path / "rates.feather"]
    done = subprocess.run(
        [PYTHON, str(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])

    t = START_MS + np.arange(BARS) * STEP_MS
    # The daemon's rates have the venue's stamps, some ms after the hour.
    settled = hours.dt.as_unit("ms").astype("int64").to_numpy() + 45
    frame = {name: bars[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
    frame |= {"t": t, "s_top": np.zeros(BARS), "s_bot": np.zeros(BARS)}
    known = frame | {"funding": features.funding_as_of(t + STEP_MS, settled, rates)}
    nothing = frame | {"funding": np.zeros(BARS)}
    wanted = [features.compute(each)[-1].tolist() for each in (known, nothing, known)]
    assert told["rows"] == wanted
    assert told["published"] == [[int(t[-1]), wanted[0]]]
    assert told["over MQTT"]["enter_long"] == 1

    assert set(told["without a model"].values()) == {0}
    with PointerSlot(models, "BTC-5m", public_key=key) as slot:
        for row, words in ((wanted[1], "without rates"), (wanted[2], "with a model")):
            assert slot.predict(row).decision == side
            up, down = int(side == UP), int(side == DOWN)
            signals = {"enter_long": up, "exit_short": up, "enter_short": down, "exit_long": down}
            assert told[words] == signals, done.stderr
