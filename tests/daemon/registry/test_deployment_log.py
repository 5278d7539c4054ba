from pathlib import Path

from daemon.registry import deployment_log
from daemon.registry.registry import Registry
from daemon.store.data_folder import open_store
from daemon.store.journal_kinds import POINTER_MOVED
from hyperdrift.slot_name import SlotName
from tests.daemon.versions import write_version

SLOT = SlotName("BTC", "5m")
NOW = 1_760_000_000_000


def test_each_move_is_written_down_once_also_when_it_is_noted_again_after_a_crash(
    tmp_path: Path,
) -> None:
    registry = Registry(tmp_path / "models")
    one, two = (registry.adopt(SLOT, write_version(tmp_path / str(n), n)) for n in (1, 2))
    with open_store(tmp_path) as store:
        assert deployment_log.newest(store, SLOT) is None
        first = registry.deploy(SLOT, one, reason="first", by="hyperdrift", at_ms=NOW)
        deployment_log.note(store, SLOT, first, NOW)
        deployment_log.note(store, SLOT, first, NOW + 1)
        second = registry.deploy(
            SLOT, two, reason="I like it", by="alice", at_ms=NOW, promoted_by="alice"
        )
        deployment_log.note(store, SLOT, second, NOW)
        back = registry.rollback(SLOT, reason="worse", by="hyperdrift", at_ms=NOW)
        deployment_log.note(store, SLOT, back, NOW)
        moves = [entry.body for entry in store.journal(SLOT, kinds=[POINTER_MOVED])]
    told = [(m["action"], m["previous_id"], m["model_id"], m["by"], m["reason"]) for m in moves]
    assert told == [
        ("deploy", None, one, "hyperdrift", "first"),
        ("promote", one, two, "alice", "I like it"),
        ("rollback", two, one, "hyperdrift", "worse"),
    ]
