import re
from html import escape
from html.parser import HTMLParser

from retrain.pipeline import Candidate
from retrain.report import render


class Balance(HTMLParser):
    """Keeps the open tags, and fails on one that closes another."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_shows_the_verdict_and_every_gate(candidate: Candidate) -> None:
    page = render(candidate.meta)
    assert "Passed every gate" in page
    for gate in candidate.gates:
        assert gate.name in page
        assert escape(gate.why) in page
    assert candidate.manifest["model_id"] in page


def test_the_report_of_a_refused_model_says_by_which_gates(candidate: Candidate) -> None:
    page = render({**candidate.meta, "passed": False, "refused_by": ["overfit", "direction"]})
    assert "Refused by overfit, direction." in page


def test_the_report_is_well_formed_and_fetches_nothing(candidate: Candidate) -> None:
    page = render(candidate.meta)
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r"https?:|src=|<script|url\(", page)


def test_what_people_typed_is_escaped(candidate: Candidate) -> None:
    page = render(candidate.meta)
    assert "a &lt;test&gt;" in page
    assert "<test>" not in page
