import json
import re
from html import escape
from html.parser import HTMLParser

import pytest

from retrain import features
from retrain.judging.findings import CLASS_NAMES
from retrain.pipeline import Candidate
from retrain.reporting import plots
from retrain.reporting.report import render


class Balance(HTMLParser):
    """Keeps the open tags, and fails on one that closes another."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """Take `<path/>`, which opens nothing."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(candidate: Candidate) -> str:
    return render(candidate.meta)


def test_the_report_shows_the_verdict_and_every_gate(candidate: Candidate, page: str) -> None:
    assert "Passed every gate" in page
    for gate in candidate.gates:
        assert gate.name in page
        assert escape(gate.why) in page
    assert candidate.manifest["model_id"] in page


def test_the_report_of_a_refused_model_says_by_which_gates(candidate: Candidate) -> None:
    page = render({**candidate.meta, "passed": False, "refused_by": ["overfit", "direction"]})
    assert "Refused by overfit, direction." in page


def test_the_report_shows_what_each_form_was_proved_to(candidate: Candidate, page: str) -> None:
    forms = candidate.meta["forms"]
    assert f"scikit-learn {forms['joblib']['library']}" in page
    assert "on 10,032 rows" in page
    failed = {**forms["onnx"], "error": "it cannot be made (no <onnx>)", "predict_ms": None}
    page = render({**candidate.meta, "forms": {**forms, "onnx": failed}})
    assert "it cannot be made (no &lt;onnx&gt;)" in page


def test_the_report_is_well_formed_and_fetches_nothing(page: str) -> None:
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r"https?:|src=|<script|@import|url\((?!#)", page)


def test_what_people_typed_is_escaped(page: str) -> None:
    assert "a &lt;test&gt;" in page
    assert "<test>" not in page


def test_a_refused_model_says_why_before_anything_else(candidate: Candidate) -> None:
    gates = [{**gate.as_dict(), "passed": gate.name != "overfit"} for gate in candidate.gates]
    page = render({**candidate.meta, "passed": False, "refused_by": ["overfit"], "gates": gates})
    sentence = next(gate["verdict"] for gate in gates if not gate["passed"])
    assert f"<p>{escape(sentence)}.</p>" in page.partition("</header>")[0]


def test_what_a_signal_earns_stands_on_top(candidate: Candidate, page: str) -> None:
    head = page.partition("</header>")[0]
    assert f"<p>earns: {escape(candidate.meta['earns']['text'])}.</p>" in head


def test_every_plot_is_in_the_page_and_takes_its_colours_from_it(
    candidate: Candidate, page: str
) -> None:
    drawn = plots.draw(candidate.meta["findings"])
    assert list(drawn) == ["reliability", "equity", "importance", "drift"]
    for svg in drawn.values():
        assert svg in page
        assert "var(--ink)" in svg
        assert not re.findall(r"(?:fill|stroke): #(?!0{6}|fff)[0-9a-f]{6}", svg)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_page_fits_a_phone_and_follows_the_readers_choice_of_dark(page: str) -> None:
    assert '<meta name="viewport" content="width=device-width,initial-scale=1">' in page
    assert "@media(prefers-color-scheme:dark)" in page
    assert not re.search(r'<svg[^>]* width="', page)  # its box gives it its width


def test_without_matplotlib_the_page_says_so_and_tells_the_same_in_tables(
    candidate: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "mpl", None)
    page = render(candidate.meta)
    assert "matplotlib is not installed" in page
    assert "<svg" not in page
    for name in features.NAMES:
        assert page.count(f"<th>{name}</th>") == 2  # importance and drift
    parser = Balance()
    parser.feed(page)
    assert parser.open == []


@pytest.mark.parametrize(
    ("slippage", "funding", "said"),
    [
        (0.0, 0.0, "No slippage, no funding: not what an account would show."),
        (2.0, 0.0, "No funding: not what an account would show."),
        (2.0, 0.5, "Not what an account would show."),
    ],
)
def test_the_equity_lacks_only_those_costs_that_are_not_set(
    candidate: Candidate, slippage: float, funding: float, said: str
) -> None:
    settings = candidate.meta["settings"]
    costs = {**settings["costs"], "slippage_bps": slippage, "funding_bps": funding}
    page = render({**candidate.meta, "settings": {**settings, "costs": costs}})
    assert re.findall(r"worst fall \S+ ([^<]*)</p>", page) == [said]


def test_the_same_findings_draw_the_same_page(candidate: Candidate, page: str) -> None:
    stored = json.loads(json.dumps(candidate.meta))
    assert render(stored) == page


def test_what_was_found_agrees_with_the_scores(candidate: Candidate) -> None:
    found, test = candidate.meta["findings"], candidate.meta["scores"]["test"]
    ours = found["models"][-1]
    assert ours["name"] == "this model"
    assert ours["log_loss"] == pytest.approx(test["log_loss"])
    assert ours["skill"] == pytest.approx(test["skill"])
    assert ours["ic"] == pytest.approx(test["ic"])
    equity, decided = found["equity"], test["decisions"]
    signals = decided["up_signals"] + decided["down_signals"]
    assert equity["signals"] == signals
    horizon = candidate.meta["settings"]["horizon_bars"]
    assert equity["after_fees"][-1] == pytest.approx(
        decided["expectancy"] * signals / horizon, abs=1e-5
    )
    for place, name in enumerate(CLASS_NAMES):
        bins = found["reliability"][name]
        happened = sum(share * rows for _, share, rows in bins) / sum(b[2] for b in bins)
        assert happened == pytest.approx(test["class_shares"][place])


def test_what_the_planted_signal_is_in_matters_most(candidate: Candidate) -> None:
    importance = candidate.meta["findings"]["importance"]
    assert set(importance) == set(features.NAMES)
    assert max(importance, key=lambda name: importance[name]) in {"S_top", "flow_diff"}


class Harmless(Balance):
    """Fails on a tag or an attribute that a text could have brought in."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # type: ignore[override]
        super().handle_starttag(tag, attrs)
        assert tag not in {"script", "img", "iframe", "object", "a", "form", "input"}
        assert not [name for name, _ in attrs if name.startswith("on")]


def hostile(value: object) -> object:
    """Return a document with a hostile end of each of its texts, and of what names them."""
    end = "'\"></title></style></svg>--><script>alert(1)</script><img src=x onerror=alert(1)>$x$"
    if isinstance(value, dict):
        return {key: hostile(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [hostile(one) for one in value]
    return value + end if isinstance(value, str) else value


@pytest.mark.filterwarnings("ignore:constrained_layout")  # the names are longer than the plot
def test_a_hostile_text_in_any_field_is_only_text(candidate: Candidate, page: str) -> None:
    meta = hostile(candidate.meta)
    assert isinstance(meta, dict)
    for within, key in (("findings", "importance"), (None, "versions"), (None, "timings")):
        inner = meta[within] if within else meta
        inner[key] = {hostile(name): one for name, one in inner[key].items()}
    moved = meta["findings"]["drift"]
    moved["features"] = {hostile(name): one for name, one in moved["features"].items()}
    reliability = meta["findings"]["reliability"]
    meta["findings"]["reliability"] = {hostile(name): b for name, b in reliability.items()}
    whole = {**meta, "passed": False, "refused_by": [hostile("x")]}
    for bad in (render(whole), render(whole, {})):
        parser = Harmless()
        parser.feed(bad)
        assert parser.open == []
        assert bad.count("&lt;script&gt;alert(1)") > 20
    head = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    assert head in page[:300]
