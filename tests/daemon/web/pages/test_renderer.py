"""Every page as HTML: whole, in one shape, usable without a script and by a keyboard."""

import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from daemon.web.pages.renderer import STATIC, PageRenderer
from daemon.web.views import DriftBar, View
from tests.daemon.web.pages import examples
from tests.daemon.web.pages.reading_html import Outline

PAGES: Final = PageRenderer()
VIEWS: Final = {
    **{name: (name, view) for name, view in examples.all_views().items()},
    "many": ("overview", examples.many_slots(30)),
    "many lines": ("feed", examples.feed_view(30)),
    "retraining": ("slot", examples.slot_view("busy", "retraining")),
    "refused": ("version", examples.version_view(passed=False)),
}
LIVE: Final = ("overview", "slot", "feed", "journal")


def rendered(name: str, view: View, *, signed_in: bool = False, **more: Any) -> str:
    csrf = "the-session" if signed_in else ""
    return PAGES.render(name, view, signed_in=signed_in, csrf=csrf, now_ms=examples.NOW_MS, **more)


@pytest.mark.parametrize("signed_in", [False, True])
@pytest.mark.parametrize("case", VIEWS)
def test_a_page_is_whole_and_has_what_every_reader_needs(case: str, signed_in: bool) -> None:
    page = Outline(rendered(*VIEWS[case], signed_in=signed_in))
    tags = [tag for tag, _ in page.elements]
    assert page.unclosed == []
    assert [tags.count(one) for one in ("h1", "main", "header", "footer", "body")] == [1] * 5
    assert {"Pages"} <= set(page.values("aria-label"))
    assert tags.count("a") > 3
    assert page.elements[0] == ("html", {"lang": "en"})
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert "#main" in page.values("href")


@pytest.mark.parametrize("case", VIEWS)
def test_a_page_loads_nothing_of_others_and_has_no_script_or_style_in_it(case: str) -> None:
    page = Outline(rendered(*VIEWS[case], signed_in=True))
    for tag, attributes in page.elements:
        assert not {name for name in attributes if name.startswith("on")} | (
            {"style", "srcset", "target"} & set(attributes)
        )
        assert tag not in {"style", "iframe", "base", "img"}
    addresses = [*page.values("href"), *page.values("src"), *page.values("action")]
    assert all(re.match(r"/(?!/)|#main$", one) for one in addresses)
    assert [a for tag, a in page.elements if tag == "script"] == [
        {"src": "/static/live.js", "defer": None}
    ]


@pytest.mark.parametrize("case", VIEWS)
def test_every_field_has_a_label_and_every_form_that_changes_something_its_session(
    case: str,
) -> None:
    text = rendered(*VIEWS[case], signed_in=True)
    for form in re.findall(r"<form.*?</form>", text, re.DOTALL):
        fields = re.findall(r"<(?:input|select)(?! type=\"hidden\")", form)
        labels = re.findall(r"<label>.*?</label>", form, re.DOTALL)
        assert len(fields) == len(labels)
        if 'method="post"' in form and "/sign-in" not in form:
            assert 'name="csrf" value="the-session"' in form


def test_orders_are_offered_to_operators_only() -> None:
    view = examples.slot_view()
    signed_in = Outline(rendered("slot", view, signed_in=True))
    actions = {one for one in signed_in.values("action") if one.startswith("/slots/")}
    assert actions == {
        f"/slots/BTC-5m/{name}" for name in ("retrain", "rollback", "promote", "pause", "resume")
    }
    guest = Outline(rendered("slot", view))
    assert guest.values("action") == []
    assert guest.values("href").count("/sign-in?to=%2Fslots%2FBTC-5m") == 2


def test_a_paused_slot_can_only_be_resumed() -> None:
    page = Outline(rendered("slot", examples.slot_view("look", "paused"), signed_in=True))
    assert "/slots/BTC-5m/pause" not in page.values("action")
    assert "/slots/BTC-5m/resume" in page.values("action")


def test_a_quick_challenger_that_waits_shows_its_place() -> None:
    view = examples.slot_view("ok", "serving")
    said = "Would a retrain help? A quick challenger waits for its turn, 3rd of 12"
    assert said in " ".join(Outline(rendered("slot", view)).text.split())


def test_the_version_that_is_live_is_not_offered_for_promotion() -> None:
    text = rendered("slot", examples.slot_view(), signed_in=True)
    forms = text.split('id="order-promote"')[1].split("</form>")[0]
    offered = re.findall(r'<option value="([^"]+)"', forms)
    assert offered == [examples.OLD, examples.REFUSED]


@pytest.mark.parametrize("name", LIVE)
def test_what_is_pushed_are_parts_of_the_page_word_for_word_and_the_same_for_all(name: str) -> None:
    view = examples.all_views()[name]
    fragment = PAGES.fragment(name, view, now_ms=examples.NOW_MS)
    page, parts = Outline(rendered(name, view, signed_in=True)), Outline(fragment)
    live = [a["id"] for _, a in parts.elements if "data-live" in a]
    assert live == [
        *("as-of",),
        *(a["id"] for _, a in page.elements if "data-live" in a and a["id"] != "as-of"),
    ]
    assert len(live) > 1
    assert "csrf" not in fragment
    assert "/sign-" not in fragment
    assert parts.unclosed == []


def test_a_page_names_the_news_it_wants() -> None:
    def news(name: str, **query: str) -> str | None:
        page = Outline(rendered(name, examples.all_views()[name], query=query))
        return dict(page.elements)["body"]["data-news"]

    assert [news(one) for one in LIVE] == ["overview", "slot-BTC-5m", "feed", "journal"]
    assert [news(one) for one in ("version", "sign-in", "error")] == ["", "", ""]
    assert news("journal", before="7") == ""


def test_the_first_page_answers_the_questions_of_an_owner() -> None:
    text = Outline(rendered("overview", examples.overview())).text
    for answer in (
        "It lives. One of four slots needs you",
        "3 h old, trained 1 Aug 2025, 09:05",
        "+0.9 bp a signal after costs",
        "On probation since 09:05",
        "The bot paper-1 refuses the live version",
    ):
        assert answer in text


def test_every_state_is_told_in_words() -> None:
    text = Outline(rendered("overview", examples.overview())).text
    for state in ("paused", "serving", "retraining", "serving on probation"):
        assert state in text
    with_drift = Outline(rendered("slot", examples.slot_view())).text
    assert "140 % alarm" in " ".join(with_drift.split())


def test_the_first_page_with_four_slots_is_below_100_kilobytes_with_all_its_files() -> None:
    page = len(rendered("overview", examples.overview()).encode())
    files = sum(path.stat().st_size for path in STATIC.iterdir())
    assert page + files < 100_000


@pytest.mark.parametrize("slots", [1, 30])
def test_no_feature_is_named_for_drift_while_none_has_evidence(slots: int) -> None:
    calm = msgspec.structs.replace(
        examples.summary(), top_drift=DriftBar(feature="S_bot", evidence=0.0)
    )
    text = Outline(rendered("overview", examples.overview((calm,) * slots))).text
    assert "0 %" in text
    assert "S_bot" not in text


def test_two_hundred_slots_are_one_table_with_a_filter_that_needs_no_script() -> None:
    view = examples.many_slots()
    page = Outline(rendered("overview", view))
    assert sum(one.startswith("slot-") for one in page.values("id")) == 200
    assert "get" in page.values("method")
    found = Outline(rendered("overview", view, query={"q": "L161-"}))
    assert sum(one.startswith("slot-") for one in found.values("id")) == 1
    none = rendered("overview", view, query={"q": "nothing like it"})
    assert "No slot fits" in none


def test_the_feed_says_by_what_it_is_sorted() -> None:
    page = rendered("feed", examples.feed_view(200), query={"sort": "lag", "order": "down"})
    assert re.findall(r'aria-sort="(\w+)"><a href="([^"]+)">(.*?)</a>', page) == [
        ("descending", "/feed?sort=lag&amp;order=up", "lag ↓")
    ]


def test_the_journal_keeps_its_filter_when_it_turns_a_page() -> None:
    query = {"slot": "BTC-5m", "kind": "alarm", "since_ms": "1754000000000", "before": "1100"}
    page = Outline(rendered("journal", examples.journal_view(), query=query))
    kept = "/journal?slot=BTC-5m&kind=alarm&since_ms=1754000000000"
    assert f"{kept}&before=1020" in page.values("href")
    assert kept in page.values("href")
    assert sum("selected" in a for _, a in page.elements) == 3


def test_what_became_of_an_order_is_told() -> None:
    page = rendered("slot", examples.slot_view(), signed_in=True, notice="Retrain 8 <starts>.")
    assert '<p class="notice" role="status">Retrain 8 &lt;starts&gt;.</p>' in page


def test_every_file_of_the_pages_is_in_a_wheel() -> None:
    import tomllib

    root = Path(__file__).parents[4]
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    folder = STATIC.parent
    packed = {
        path
        for pattern in settings["package-data"]["daemon.web.pages"]
        for path in folder.glob(pattern)
    }
    files = {
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in str(path)
    }
    assert {path for path in files if path.suffix != ".py"} == packed
