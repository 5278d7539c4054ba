"""A trade that a bot tells of."""

from hyperdrift.mqtt.messages import TradeReport

TRADE = TradeReport(
    trade_id="1",
    side="buy",
    opened_ms=1,
    closed_ms=2,
    entry=1.0,
    exit=1.0,
    size=1.0,
    fee=0.0,
    pnl=0.0,
)
