from daemon.web.pages import tables
from tests.daemon.web.pages import examples


def test_slots_are_found_by_any_of_their_words_and_by_urgency() -> None:
    slots = examples.slots()

    def found(**query: str) -> list[str]:
        return [one.slot for one in tables.chosen_slots(slots, query)]

    assert found() == ["HYPE-5m", "SOL-1h", "ETH-5m", "BTC-5m"]
    assert found(q="eth") == ["ETH-5m"]
    assert found(q=" ONNXRUNTIME ") == ["HYPE-5m"]
    assert found(urgency="look") == ["SOL-1h"]
    assert found(urgency="look", q="btc") == []
    assert tables.urgency_counts(slots) == {"act": 1, "look": 1, "busy": 1, "ok": 1}


def test_the_feed_shows_trouble_first_until_a_column_is_chosen() -> None:
    lines = examples.feed_view().slots

    def found(**query: str) -> list[str]:
        return [one.slot for one in tables.sorted_feed(lines, query)]

    assert found() == ["ETH-5m", "BTC-5m", "HYPE-5m", "SOL-1h"]
    assert found(sort="lag", order="down") == ["BTC-5m", "ETH-5m", "SOL-1h", "HYPE-5m"]
    assert found(sort="slot", order="up") == ["BTC-5m", "ETH-5m", "HYPE-5m", "SOL-1h"]
    assert found(sort="__class__") == found()
    assert found(q="sol") == ["SOL-1h"]


def test_a_heading_sorts_and_sorts_the_other_way_when_it_is_used_again() -> None:
    assert tables.sort_link("lag", {"q": "a b"}) == "?q=a+b&sort=lag&order=down"
    assert tables.sort_link("lag", {"sort": "lag", "order": "down"}) == "?sort=lag&order=up"
    assert tables.sort_link("slot", {}) == "?sort=slot&order=up"


def test_a_query_is_kept_but_for_what_changes() -> None:
    assert tables.with_query({"slot": 'a"&b', "before": "5"}, before=None) == "?slot=a%22%26b"
