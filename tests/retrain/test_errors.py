import pickle

import pytest

from retrain.errors import (
    ArtifactError,
    BadFrame,
    BadJob,
    BadSetting,
    BadThreshold,
    ClassMissing,
    ComputerFailed,
    RetrainError,
    TooFewBars,
)

EXAMPLES = [
    TooFewBars(9, 10, "funding_rate"),
    ClassMissing("UP", 0.001, 0.02, "horizon threshold"),
    BadFrame("column t is missing"),
    BadSetting("folds", 1, "at least 2"),
    BadThreshold("much"),
    BadJob("key seed is missing"),
    ComputerFailed("bot:Class", "gave 12 features"),
    ArtifactError("LATEST.json is missing"),
]


def every_subclass(root: type[RetrainError]) -> set[type[RetrainError]]:
    below = {s for s in root.__subclasses__() if s.__module__ == root.__module__}
    return below.union(*map(every_subclass, below))


def test_the_examples_cover_the_tree() -> None:
    assert {type(e) for e in EXAMPLES} == every_subclass(RetrainError)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda e: type(e).__name__)
def test_an_error_survives_the_way_out_of_the_child_process(error: RetrainError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda e: type(e).__name__)
def test_an_error_says_what_is_wrong_and_whether_to_try_again(error: RetrainError) -> None:
    assert isinstance(error.transient, bool)
    assert len(str(error)) > 20
    assert "BadFrame(" not in str(error)
