from daemon.store.journal_kinds import ENTRIES_PRUNED, SCORED
from daemon.store.store import Store
from daemon.web.data.journal_page import JournalPage
from hyperdrift.slot_name import SlotName

SLOT = SlotName("BTC", "5m")


def test_what_repeats_another_entry_is_left_out_unless_it_is_asked_for() -> None:
    with Store(":memory:") as store:
        store.append_journal(SLOT, 1, SCORED, {})
        store.append_journal(SLOT, 2, "ModelServed", {"model_id": "m"})
        store.append_journal(SLOT, 3, "win_rate", {"text": "it fell"})
        store.append_journal(SLOT, 3, "alert", {"text": "it fell", "severity": "warning"})
        store.append_journal(None, 4, ENTRIES_PRUNED, {"rows": 3})
        page = JournalPage.read(store, None, limit=10)
        asked = JournalPage.read(store, SLOT, ["alert", "ModelServed"], limit=10)
    assert [line.kind for line in page.lines()] == [ENTRIES_PRUNED, "win_rate"]
    assert [line.slot for line in page.lines()] == ["", "BTC-5m"]
    assert [line.kind for line in asked.lines()] == ["alert", "ModelServed"]
    assert page.kinds == ("alert", "BarScored", "ModelServed", "pruned", "win_rate")
    assert asked.kinds == ("alert", "BarScored", "ModelServed", "win_rate")


def test_there_is_an_older_page_only_where_this_one_is_full() -> None:
    with Store(":memory:") as store:
        for at_ms in range(4):
            store.append_journal(SLOT, at_ms, "drift", {})
        assert JournalPage.read(store, SLOT, limit=3).older == 2
        assert JournalPage.read(store, SLOT, limit=5).older is None
        assert JournalPage.read(store, SLOT, before=1, limit=5).entries == []


def test_a_text_that_no_person_reads_is_cut_and_others_are_whole() -> None:
    with Store(":memory:") as store:
        fields = {"calibration": "9" * 200_000, "reason": "r" * 9_999, "up": 0.4}
        store.append_journal(SLOT, 1, "ModelServed", fields)
        (line,) = JournalPage.read(store, SLOT, ["ModelServed"], limit=1).lines()
    assert line.fields == {**fields, "calibration": "9" * 10_000 + "…"}
