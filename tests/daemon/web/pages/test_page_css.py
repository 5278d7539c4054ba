"""The colours of the pages can be told apart, in daylight and at night."""

import re
from itertools import product
from typing import Final

import pytest

from daemon.web.pages.renderer import STATIC

CSS: Final = (STATIC / "page.css").read_text()
INKS: Final = ("ink", "soft", "accent", "good", "warn", "bad")
GROUNDS: Final = ("page", "card", "tint", "tint-bad")
TEXT, GRAPHICS = 4.5, 3.0


def schemes() -> dict[str, dict[str, str]]:
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6})", one)) for one in blocks())
    return {"light": light, "dark": {**light, **dark}}


def blocks() -> list[str]:
    return re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_every_ground(scheme: str) -> None:
    colours = schemes()[scheme]
    pairs = {(ink, ground) for ink, ground in product(INKS, GROUNDS)} | {("on-accent", "accent")}
    found = {pair: contrast(*(colours[name] for name in pair)) for pair in pairs}
    assert {pair: ratio for pair, ratio in found.items() if ratio < TEXT} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_edge_of_a_field_can_be_seen(scheme: str) -> None:
    colours = schemes()[scheme]
    for ground in ("page", "card"):
        assert contrast(colours["strong-line"], colours[ground]) >= GRAPHICS


def test_the_measure_of_contrast_is_the_standards() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_every_colour_is_one_of_the_variables_and_each_is_used() -> None:
    rules = CSS[CSS.index("*, ::before") :]
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b", rules) == []
    defined = {name for scheme in schemes().values() for name in scheme}
    assert defined == set(re.findall(r"var\(--([\w-]+)", rules)) - {"tone"}
    assert defined == {*INKS, *GROUNDS, "line", "strong-line", "on-accent"}


def test_whoever_wants_no_motion_gets_none() -> None:
    moving = re.sub(
        r"@media \(prefers-reduced-motion: no-preference\) \{.*?\n\}", "", CSS, flags=re.DOTALL
    )
    assert "transition" not in moving
    assert "animation" not in moving
