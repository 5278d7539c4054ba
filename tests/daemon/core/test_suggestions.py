from daemon.core.suggestions import did_you_mean, nearest, several


def test_a_misspelt_name_is_answered_with_the_nearest_one() -> None:
    assert did_you_mean("brokr", ["broker", "prefix"], "-") == "did you mean 'broker'?"


def test_a_name_like_no_other_is_answered_with_the_rest_of_the_sentence() -> None:
    assert did_you_mean("x", ["broker", "prefix"], "write broker") == "write broker"


def test_names_that_differ_in_case_alone_are_near_and_come_as_they_are_written() -> None:
    assert nearest("kpepe", ["BTC", "kPEPE"], 3) == ["kPEPE"]


def test_no_more_names_come_than_were_asked_for() -> None:
    assert len(nearest("BTC", ["BTC1", "BTC2", "BTC3"], 2)) == 2


def test_of_many_names_the_first_are_shown_and_the_others_counted() -> None:
    assert several("ABC") == "A, B, C"
    assert several(range(10)) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
