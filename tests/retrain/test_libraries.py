import pytest

from retrain.libraries import too_old


@pytest.mark.parametrize("sklearn", ["1.4.0", "1.7.2", "1.10.0", "1.8.dev0", "2.0"])
def test_the_oldest_that_works_and_newer_ones_may_train(sklearn: str) -> None:
    assert too_old((3, 10), sklearn) == ""
    assert too_old((3, 14), sklearn) == ""


def test_what_is_older_is_named_with_what_would_do() -> None:
    assert too_old((3, 11), "1.3.2").startswith("scikit-learn 1.3.2 cannot train, 1.4 can;")
    assert too_old((3, 9), "1.9.1").startswith("Python 3.9 cannot train, 3.10 can;")
    assert "retrain.python" in too_old((3, 9), "1.9.1")
