"""Trade what the live model says; in a backtest, what the versions that were live then said."""

import logging

import pandas as pd
from freqtrade.strategy import IStrategy

from hyperdrift import HyperdriftError, open_slot
from hyperdrift.features import LIVE_BARS, compute
from hyperdrift.slot_name import INTERVAL_MS


class HyperdriftStrategy(IStrategy):
    timeframe, can_short, startup_candle_count, slots = "5m", True, LIVE_BARS, {}
    minimal_roi, stoploss = {"60": -1}, -0.05  # out after an hour, the horizon of 12 bars

    def informative_pairs(self):
        return [(pair, "1h", "funding_rate") for pair in self.dp.current_whitelist()]

    def populate_indicators(self, df, metadata):
        coin = self.dp.market(metadata["pair"])["info"]["name"]  # kPEPE, where the pair has KPEPE
        told = self.ask if self.dp.runmode.value in {"live", "dry_run"} else self.stored
        df = df.assign(t=df["date"].dt.as_unit("ms").astype("int64"))
        return df.assign(decision=df["t"].map(told(f"{coin}-{self.timeframe}", df, metadata)))

    def populate_entry_trend(self, df, metadata):
        return df.assign(enter_long=df["decision"] == 2, enter_short=df["decision"] == 0)

    def populate_exit_trend(self, df, metadata):
        return df.assign(exit_long=df["decision"] == 0, exit_short=df["decision"] == 2)

    def stored(self, name, df, metadata):
        file = f"{self.config['hyperdrift']['predictions']}/{name}.feather"
        return pd.read_feather(file).set_index("t")["decision"]

    def ask(self, name, df, metadata):
        rates = self.dp.get_pair_dataframe(metadata["pair"], "1h", "funding_rate")
        known = rates.set_index("date")["open"] if len(rates) else {}
        within = pd.Timedelta(INTERVAL_MS[self.timeframe] - 1, "ms")  # the newest before the close
        funding = (df["date"] + within).dt.floor("h").map(known).ffill().fillna(0.0)
        bars = df.assign(funding=funding, s_top=0.0, s_bot=0.0).tail(LIVE_BARS)
        try:
            row = compute(bars)[-1].tolist()
            if name not in self.slots:
                self.slots[name] = open_slot(name, **self.config["hyperdrift"]["slot"])
            said, t = self.slots[name].predict(row), int(df["t"].iloc[-1])
        except (HyperdriftError, ValueError) as e:  # no model yet, or a candle is missing
            logging.getLogger(__name__).warning("no signal of %s: %s", name, e)
            return {}
        if publish := getattr(self.slots[name], "publish_prediction", None):
            publish(t, said, row)  # so that the daemon compares the features with its own
        return {t: said.decision}
