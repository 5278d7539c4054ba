"""msgspec's own sentences, as the pinned version writes them."""

from typing import Annotated, Any

import msgspec
import pytest

from daemon.core.msgspec_errors import Misfit, read_misfit


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    coin: str
    folds: Annotated[int, msgspec.Meta(ge=2)] | None = None


class Outer(msgspec.Struct):
    slots: Annotated[list[Inner], msgspec.Meta(min_length=1)]


def misfit(raw: Any) -> Misfit:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(raw, Outer)
    return read_misfit(str(refused.value))


def test_an_unknown_key_is_named_with_its_place() -> None:
    found = misfit({"slots": [{"coin": "BTC", "x": 1}]})
    assert (found.unknown, found.path) == ("x", "slots[0]")


def test_a_missing_key_is_named_with_its_place() -> None:
    found = misfit({"slots": [{}]})
    assert (found.missing, found.path) == ("coin", "slots[0]")


def test_the_types_that_fit_are_named() -> None:
    found = misfit({"slots": [{"coin": "BTC", "folds": "x"}]})
    assert (set(found.expected), found.path) == ({"int", "null"}, "slots[0].folds")


def test_a_bound_is_named_with_its_relation() -> None:
    found = misfit({"slots": [{"coin": "BTC", "folds": 1}]})
    assert (found.expected, found.relation, found.bound) == (("int",), ">=", "2")
    found = misfit({"slots": []})
    assert (found.expected, found.relation, found.bound) == (("array",), "of length >=", "1")


def test_a_sentence_about_something_else_is_kept_whole() -> None:
    assert read_misfit("Invalid UUID - at `$.id`") == Misfit("Invalid UUID", "id")
