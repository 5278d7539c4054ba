"""A worker that would make another model is told from one that makes the same."""

import sys

import pytest

from daemon.fleet.handshake import differences, made_otherwise, own_facts, read_facts, seen

OURS = {"python": "3.11", "scikit-learn": "1.9.1", "retrain": "aaa", "calibration": "x"}


def test_an_equal_worker_fits_whether_it_calibrates_or_not() -> None:
    assert differences(OURS, OURS) == ""
    assert differences(OURS | {"calibration": "", "more": "1"}, OURS) == ""


def test_what_differs_is_named_with_both_sides() -> None:
    theirs = OURS | {"scikit-learn": "1.5.2", "retrain": ""}
    said = "scikit-learn 1.5.2, here 1.9.1; the code of retrain missing, here aaa"
    assert differences(theirs, OURS) == said


def test_of_another_python_nothing_else_is_said() -> None:
    assert differences({"python": "3.12"}, OURS) == "python 3.12, here 3.11"


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (b'{"sklearn": "1.9.1", "numpy": "2.4.6"}', ""),
        (b'{"sklearn": "1.9.1", "numpy": "2.5.0"}', "numpy 2.5.0, here 2.4.6"),
        (b"{}", ""),
        (b"[]", ""),
        (b"no JSON", ""),
    ],
)
def test_a_candidate_says_with_which_libraries_it_was_made(manifest: bytes, why: str) -> None:
    files = {"candidate/report_m.html": b"", "candidate/manifest_m.json": manifest}
    assert made_otherwise(files, OURS | {"numpy": "2.4.6"}) == why
    assert made_otherwise({"calibration.json": b"{}"}, OURS) == ""


def test_a_worker_without_the_resource_gets_nothing() -> None:
    found = seen("tcp://a:1", {"name": "a", "resources": {"GPU": 1}}, "")
    assert (found.places, "--resources retrain=1" in found.why_not) == (0, True)
    assert seen("tcp://a:1", {"name": "a", "resources": {"retrain": 2}}, "").places == 2
    less = seen("tcp://a:1", {"name": "a", "resources": {"retrain": -1}}, "")
    assert (less.places, less.why_not) == (0, found.why_not)


@pytest.mark.parametrize("text", [None, b"{}", "[]", "no JSON", '{"python": 3}'])
def test_an_answer_that_is_none_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_facts(text)


def test_our_interpreter_tells_what_it_has() -> None:
    facts = own_facts(sys.executable, sys.executable, "")
    assert facts["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert all(facts.values())


def test_an_interpreter_that_does_not_tell_is_named() -> None:
    with pytest.raises(ValueError, match="/bin/false does not tell its versions"):
        own_facts("/bin/false", sys.executable, "")
