import pytest

from daemon.mqtt.retrain_messages import ChallengeProgress, RetrainProgress, ordinal


@pytest.mark.parametrize(
    ("number", "place"),
    [
        *((1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (10, "10th"), (11, "11th"), (12, "12th")),
        *((13, "13th"), (21, "21st"), (102, "102nd"), (111, "111th"), (112, "112th")),
    ],
)
def test_a_place_is_said_as_people_say_it(number: int, place: str) -> None:
    assert ordinal(number) == place


def test_progress_is_said_as_a_step_or_as_a_place() -> None:
    runs = RetrainProgress(job="j", step="fit", percent=40.4)
    assert (runs.said, runs.waits) == ("fit 40 %", False)
    waits = RetrainProgress(job="j", step="waiting", percent=0.0, place=3, waiting=12)
    assert (waits.said, waits.waits) == ("waiting, 3rd of 12", True)


def test_a_quick_challenger_is_said_with_its_place_too() -> None:
    runs = ChallengeProgress(job="j", reason="drift of x")
    assert (runs.said, runs.waits) == ("asks whether a retrain would help", False)
    waits = ChallengeProgress(job="j", reason="drift of x", place=3, waiting=12)
    assert waits.said == "asks whether a retrain would help: waiting, 3rd of 12"
