"""A session finds the filters of a topic by their levels, as the rule of MQTT says."""

from hypothesis import given
from hypothesis import strategies as st

from daemon.mqtt.broker.access import DAEMON, Rights, is_filter, matches
from daemon.mqtt.broker.limits import BrokerLimits
from daemon.mqtt.broker.session import Session

LEVELS = st.sampled_from(["a", "b", "", "$a"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join)
FILTERS = st.lists(st.one_of(LEVELS, st.sampled_from("+#")), min_size=1, max_size=4).map("/".join)


def session() -> Session:
    everything = (("#",), ("$a", "#"))
    return Session(Rights(DAEMON, everything, everything), BrokerLimits(), clean=True)


@given(st.dictionaries(FILTERS.filter(is_filter), st.integers(0, 1)), st.sets(FILTERS), TOPICS)
def test_of_the_filters_that_match_the_highest_quality_counts(
    filters: dict[str, int], gone: set[str], topic: str
) -> None:
    client = session()
    for topic_filter, qos in filters.items():
        assert client.subscribe(topic_filter, qos) == qos
    for topic_filter in gone:
        client.unsubscribe(topic_filter)
    levels = topic.split("/")
    found = {
        topic_filter: qos
        for topic_filter, qos in filters.items()
        if topic_filter not in gone and matches(tuple(topic_filter.split("/")), levels)
    }
    assert client.wants(topic) == max(found.values(), default=None)
    for topic_filter in filters.keys() - gone:
        assert client.wants(topic, topic_filter) == found.get(topic_filter)
