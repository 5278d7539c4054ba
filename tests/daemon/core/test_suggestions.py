from daemon.core.suggestions import did_you_mean, nearest


def test_a_misspelt_name_is_answered_with_the_nearest_one() -> None:
    assert did_you_mean("brokr", ["broker", "prefix"], "-") == "did you mean 'broker'?"


def test_a_name_like_no_other_is_answered_with_the_rest_of_the_sentence() -> None:
    assert did_you_mean("x", ["broker", "prefix"], "write broker") == "write broker"


def test_names_that_differ_in_case_alone_are_near_and_come_as_they_are_written() -> None:
    assert nearest("kpepe", ["BTC", "kPEPE"], 3) == ["kPEPE"]


def test_no_more_names_come_than_were_asked_for() -> None:
    assert len(nearest("BTC", ["BTC1", "BTC2", "BTC3"], 2)) == 2
