import sys
from importlib.util import find_spec

import pytest

from retrain import libraries
from retrain.libraries import too_old, unusable


@pytest.mark.parametrize("sklearn", ["1.4.0", "1.7.2", "1.10.0", "1.8.dev0", "2.0"])
def test_the_oldest_that_works_and_newer_ones_may_train(sklearn: str) -> None:
    assert too_old((3, 10), sklearn) == ""
    assert too_old((3, 14), sklearn) == ""


def test_what_is_older_is_named_with_what_would_do() -> None:
    assert too_old((3, 11), "1.3.2").startswith("scikit-learn 1.3.2 cannot train, 1.4 can;")
    assert too_old((3, 9), "1.9.1").startswith("Python 3.9 cannot train, 3.10 can;")
    assert "retrain.python" in too_old((3, 9), "1.9.1")


def test_an_interpreter_without_the_libraries_is_one_sentence_that_names_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert unusable() == ""
    gone = {"joblib", "sklearn"}
    monkeypatch.setattr(
        libraries, "find_spec", lambda name: None if name in gone else find_spec(name)
    )
    assert f"{sys.executable} has no joblib, scikit-learn; install them" in unusable()
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    assert unusable().startswith("Python 3.9 cannot train, 3.10 can;")
