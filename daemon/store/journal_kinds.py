"""The kinds of entries in the journal, beside those of events, which have the events' names.

Databases have these names in their indexes and rows: they stay as they are.
"""

from typing import Final

SCORED: Final = "BarScored"
"""The event with the predictions for one bar: nine of ten entries."""
POINTER_MOVED: Final = "pointer_moved"
"""A change of the live version; the newest is never removed."""
VERSIONS_PRUNED: Final = "versions_pruned"
"""Versions of a slot were removed from the registry."""
STOPPED_IN_RETRAIN: Final = "stopped_in_retrain"
"""The daemon was told to stop while the retrain `job_id` ran."""
ENTRIES_PRUNED: Final = "pruned"
"""What the daily cleaning removed."""
COMMAND_ANSWERED: Final = "command_answered"
"""The answer to an operator's command, also a refusal."""
TRADE_HEADER: Final = "trade_header"
"""The header of the CSV file of trades, which a rotation may lose."""
CHATTER: Final = (
    *("BotSeen", "BotSpoke", "FeaturesDiffered", "FeaturesAgreed", "Ticked"),
    COMMAND_ANSWERED,
)
"""What bots and strangers can cause by the thousand."""
