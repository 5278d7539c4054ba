"""The status page in a real browser: a whole cycle is watched, and orders are given, on it."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.ports import free_port
from tests.system.accessibility import faint_texts, focus_stops
from tests.system.browser import DESK, PHONE, Scheme, complaints, missing, overflow, show_as
from tests.system.watched_demo import (
    WatchedDemo,
    check_cycle,
    left_behind,
    lives,
    say,
    watched_demo,
)

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=f"no browser to look with: {missing()}"),
    pytest.mark.slow,
]
SLOT = "slots/BTC-5m"
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=alert(1)>\"'&"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedDemo]:
    with watched_demo(tmp_path_factory.mktemp("page")) as demo:
        yield demo


@pytest.fixture(scope="module")
def done(demo: WatchedDemo) -> WatchedDemo:
    """The demo after its cycle, which the browser has watched."""
    demo.watch_cycle()
    return demo


@pytest.fixture(autouse=True)
def on_a_desk(demo: WatchedDemo) -> None:
    show_as(demo.driver, DESK, "light")


def pages(demo: WatchedDemo) -> list[str]:
    demo.open(SLOT)
    version = demo.address("a[href*='/versions/']").removeprefix(demo.url)
    assert version
    return ["", SLOT, version, "feed", "journal", "sign-in", "nothing-here"]


def test_the_first_page_shows_the_whole_cycle_and_is_loaded_once(done: WatchedDemo) -> None:
    told = "\n".join(done.seen)
    assert "BTC-5m" in done.seen[0]
    assert "%" in told
    live = {line for line in told.splitlines() if "gates" in line or "live" in line}
    assert live, told
    assert len(done.seen) > 10, "the page changes while one looks at it"
    assert done.driver.execute_script("return window.loadedOnce"), "it was not loaded again"
    assert not complaints(done.driver)


def test_the_page_alone_says_why_the_model_was_replaced(done: WatchedDemo) -> None:
    text, was, summary = "", None, json.loads(get(done, "api/v1/" + SLOT))
    while summary["why_live"] != was:  # the market goes on, and may change it between two looks
        was, text = summary["why_live"], done.open(SLOT)
        summary = json.loads(get(done, "api/v1/" + SLOT))
    assert "replaced" in summary["why_live"]
    assert any(feature["feature"] in summary["why_live"] for feature in summary["drift"])
    assert " ".join(summary["why_live"].split()) in " ".join(text.split())


def test_each_version_has_its_gates_and_its_report(done: WatchedDemo) -> None:
    version = pages(done)[2]
    text = done.open(version)
    for gate in ("beats_prior", "beats_champion", "calibrated", "loads"):
        assert gate in text or gate.replace("_", " ") in text
    done.driver.get(done.address("a[href$='/report']"))
    assert "log loss" in done.text().lower()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_phone_and_can_be_read(done: WatchedDemo, scheme: Scheme) -> None:
    for path in pages(done):
        for size in (PHONE, DESK):
            show_as(done.driver, size, scheme)
            done.open(path)
            assert overflow(done.driver) == 0, f"/{path} scrolls sideways at {size[0]} px"
            assert not faint_texts(done.driver), f"/{path} in {scheme}"


def test_everything_is_reached_by_keyboard_and_shows_that_it_is(done: WatchedDemo) -> None:
    for path in pages(done):
        done.open(path)
        stops, unseen = focus_stops(done.driver)
        assert stops >= 3, f"/{path}"
        assert not unseen, f"/{path}: no sign of the focus"


def test_a_wrong_token_is_told_and_gives_no_orders(done: WatchedDemo) -> None:
    text = done.sign_in("not-the-token")
    assert "token" in text
    assert not done.driver.find_elements(By.CSS_SELECTOR, "form[action*='retrain']")
    done.open(SLOT)
    assert not done.driver.find_elements(By.CSS_SELECTOR, "form[action*='retrain']")


def test_an_order_from_another_site_or_without_the_form_is_refused(done: WatchedDemo) -> None:
    done.sign_in(done.token)
    cookies = {c["name"]: c["value"] for c in done.driver.get_cookies()}
    action = f"{done.url}{SLOT}/pause"
    for headers, form in (
        ({}, {"reason": "x"}),
        ({"Origin": "https://elsewhere.example"}, {"reason": "x", "csrf": "x"}),
    ):
        jar = "; ".join(f"{name}={value}" for name, value in cookies.items())
        request = urllib.request.Request(
            action, urllib.parse.urlencode(form).encode(), {"Cookie": jar, **headers}
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == 403
        refused.value.close()
    # A page of another origin: the cookie stays at home.
    done.driver.get(
        f"data:text/html,<form method=post action='{action}'><input name=reason value=x></form>"
        "<script>document.forms[0].submit()</script>"
    )
    assert "paused" not in json.loads(get(done, "api/v1/" + SLOT))["summary"]["state"]["phase"]


def test_a_retrain_is_forced_from_the_page_and_the_journal_says_who(done: WatchedDemo) -> None:
    done.sign_in(done.token)
    done.open(SLOT)
    order = done.driver.find_element(By.ID, "order-retrain")
    # By keyboard: the parts above it change their height while one aims with the mouse.
    order.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    box = order.find_element(By.NAME, "reason")
    box.send_keys("I want to see it " + HOSTILE, Keys.ENTER)
    done.wait_for_answer(box)
    assert "retrain" in done.text().lower()
    text = done.open("journal")
    assert "I want to see it <script>" in text
    assert "web (127.0.0.1) asked for a retrain" in text.lower()
    assert done.driver.title != "taken"


def test_hostile_names_and_reasons_stay_text(done: WatchedDemo) -> None:
    name = "<img src=x onerror=alert(1)>"  # a topic takes it
    bot = {"bot_id": name, "model_id": HOSTILE, "python": HOSTILE, "sklearn": HOSTILE}
    say(done.broker, f"hyperdrift/BTC-5m/bot/{name}", {"online": True, **bot})
    done.open(SLOT)
    WebDriverWait(done.driver, 90).until(lambda _: name in done.text())
    order = {"command": "pause", "request_id": HOSTILE, "reason": HOSTILE, "issued_ms": 0}
    say(done.broker, "hyperdrift/BTC-5m/command", order)
    for path in pages(done):
        done.open(path)
        assert done.driver.title != "taken"
        assert not done.driver.find_elements(By.CSS_SELECTOR, "[onerror], main script, img[src=x]")
    assert not complaints(done.driver)


def test_the_first_page_without_scripts_says_the_same(done: WatchedDemo) -> None:
    done.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        assert "BTC-5m" in done.open("")
        assert "replaced" in done.open(SLOT)
    finally:
        done.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_first_page_with_all_that_it_loads_is_small(done: WatchedDemo) -> None:
    done.open("")
    script = (
        "return performance.getEntries().filter(e => e.encodedBodySize !== undefined)"
        ".reduce((sum, e) => sum + e.encodedBodySize, 0)"
    )
    assert 0 < int(done.driver.execute_script(script)) < 100_000


@pytest.fixture
def many() -> Iterator[str]:
    """Serve pages of 200 made-up slots; the address."""
    port = free_port()
    command = (sys.executable, "-m", "benchmarks.page.server", "--slots", "200")
    server = subprocess.Popen((*command, "--port", str(port)), stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}/"
        deadline = time.monotonic() + 180
        while not lives(url):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(60)


def test_two_hundred_slots_stay_readable(done: WatchedDemo, many: str) -> None:
    driver = done.driver
    screens: tuple[tuple[tuple[int, int], Scheme], ...] = ((PHONE, "light"), (DESK, "dark"))
    for path in ("", "feed"):
        for size, scheme in screens:
            show_as(driver, size, scheme)
            driver.get(many + path)
            assert overflow(driver) == 0, f"/{path} scrolls sideways at {size[0]} px"
            assert not faint_texts(driver)
            assert len(driver.find_elements(By.CSS_SELECTOR, "a[href^='/slots/']")) >= 200
    driver.get(many)
    # By a script, because the live page replaces its parts.
    name = driver.execute_script("return document.querySelector('a[href^=\"/slots/\"]').innerText")
    driver.find_element(By.CSS_SELECTOR, "input[name=q]").send_keys(name, Keys.ENTER)
    WebDriverWait(driver, 90).until(lambda d: "?" in d.current_url)
    assert len(driver.find_elements(By.CSS_SELECTOR, "main a[href^='/slots/']")) < 20


def test_the_demo_ends_with_a_swap_that_drift_or_a_command_caused(done: WatchedDemo) -> None:
    check_cycle(done.end())
    assert "took over" in done.told()


def get(demo: WatchedDemo, path: str) -> bytes:
    with urllib.request.urlopen(demo.url + path) as answer:
        content: bytes = answer.read()
    return content


def test_nothing_is_left_behind(demo: WatchedDemo) -> None:
    demo.process.wait(180)
    assert not left_behind(demo.folder)
