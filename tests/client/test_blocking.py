"""A slot is started from the words of a bot's configuration."""

from pathlib import Path

import pytest

from hyperdrift import BlockingModelSlot, ConfigError, NoModel, PointerSlot, open_slot


def test_a_folder_alone_gives_a_slot_that_watches_it(tmp_path: Path) -> None:
    slot = open_slot("BTC-5m", models_dir=str(tmp_path))
    assert isinstance(slot, PointerSlot)
    with pytest.raises(NoModel):
        slot.predict([0.0] * 17)
    slot.stop()


def test_a_broker_gives_a_slot_that_follows_orders_also_while_the_broker_is_away() -> None:
    slot = open_slot("BTC-5m", broker_url="mqtt://127.0.0.1:9", bot_id="mine")
    assert isinstance(slot, BlockingModelSlot)
    assert slot.model_id is None
    slot.stop()


@pytest.mark.parametrize("words", [{}, {"broker_url": "mqtt://127.0.0.1"}, {"bot_id": "mine"}])
def test_neither_broker_nor_folder_is_told_by_the_names_to_set(words: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="broker_url and bot_id, or models_dir"):
        open_slot("BTC-5m", **words)
