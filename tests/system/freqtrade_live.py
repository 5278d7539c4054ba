"""Ask the strategy as freqtrade does in dry-run, on candles of a file; it runs in its environment.

`python freqtrade_live.py STRATEGY_FOLDER MODELS_DIR PUBLIC_KEY CANDLES RATES` prints one JSON
document: the features, and the signals of the last candle before and after there is a model.
"""

import importlib
import json
import sys
from types import SimpleNamespace
from typing import Any

import pandas as pd

folder, models, key, candles, rates = sys.argv[1:]
sys.path.insert(0, folder)
module: Any = importlib.import_module("HyperdriftStrategy")

seen: list[Any] = []


def compute(bars: Any) -> Any:
    rows = module.features_compute(bars)
    seen.append(rows[-1].tolist())
    return rows


module.features_compute, module.compute = module.compute, compute


published: list[Any] = []
over_mqtt = SimpleNamespace(
    predict=lambda _row: SimpleNamespace(decision=2),
    publish_prediction=lambda t, _said, row: published.append([t, row]),
)


def signals(
    models_dir: str, known: pd.DataFrame, slots: dict[str, Any] | None = None
) -> dict[str, int]:
    """Return the signals of the last candle, and check that no other candle has one."""
    config = {"hyperdrift": {"slot": {"models_dir": models_dir, "public_key": key}}}
    strategy = module.HyperdriftStrategy(config)
    strategy.slots.update(slots or {})
    strategy.dp = SimpleNamespace(
        runmode=SimpleNamespace(value="dry_run"),
        market=lambda _pair: {"info": {"name": "BTC"}},
        get_pair_dataframe=lambda *_: known,
    )
    asked = {"pair": "BTC/USDC:USDC"}
    table = strategy.populate_indicators(pd.read_feather(candles), asked)
    table = strategy.populate_exit_trend(strategy.populate_entry_trend(table, asked), asked)
    names = ["enter_long", "enter_short", "exit_long", "exit_short"]
    assert not table[names].iloc[:-1].to_numpy().any()
    strategy.slots.clear()
    return {name: int(table[name].iloc[-1]) for name in names}


found = pd.read_feather(rates)
print(  # noqa: T201 - it is read by the test
    json.dumps(
        {
            "without a model": signals(f"{models}/none", found),
            "without rates": signals(models, pd.DataFrame()),
            "with a model": signals(models, found),
            "rows": list(seen),
            "over MQTT": signals(models, found, {"BTC-5m": over_mqtt}),
            "published": published,
        }
    )
)
