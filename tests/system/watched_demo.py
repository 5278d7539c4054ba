"""A demo that is held after its cycle, with a browser that looks at its status page."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paho.mqtt import publish
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait

from hyperdrift.mqtt.broker_address import BrokerAddress
from tests.system.browser import DESK, browsing, show_as

DEMO = (sys.executable, "-m", "daemon.cli", "demo")
CYCLE_S = 900
STORY = "story.txt"


@dataclass
class WatchedDemo:
    """A running demo; `seen` is what the first page said, each text once, in order."""

    process: subprocess.Popen[bytes]
    folder: Path
    driver: Chrome
    url: str
    token: str
    broker: BrokerAddress
    seen: list[str] = field(default_factory=list)

    def told(self) -> str:
        return (self.folder / STORY).read_text()

    def text(self) -> str:
        return str(self.driver.execute_script("return document.body.innerText"))

    def progress(self) -> bool:
        """Whether the page shows how far a retrain is."""
        return bool(self.driver.find_elements(By.TAG_NAME, "progress"))

    def open(self, path: str) -> str:
        """Go to a page and return its text."""
        self.driver.get(self.url + path)
        return self.text()

    def address(self, selector: str) -> str:
        """Return where the first link that matches leads, "" if none does.

        In one step: the page replaces its parts while one looks at them.
        """
        script = "return document.querySelector(arguments[0])?.href"
        return str(self.driver.execute_script(script, selector) or "")

    def watch_cycle(self, on_retrain: Callable[[], object] = lambda: None) -> None:
        """Look at the first page until the demo is held; load it once only.

        Args:
            on_retrain: Called when the page tells of the second retrain's progress.
        """
        self.open("")
        self.driver.execute_script("window.loadedOnce = true")
        deadline = time.monotonic() + CYCLE_S
        while "   hold  " not in self.told():
            assert self.process.poll() is None, self.told()
            assert time.monotonic() < deadline, self.told()
            if (text := self.text()) not in self.seen[-1:]:
                self.seen.append(text)
            if self.told().count("  retrain  retrain ") > 1 and self.progress():
                on_retrain()
            time.sleep(0.3)

    def sign_in(self, token: str) -> str:
        """Send the form of the sign-in page, and return the text of what comes."""
        self.open("sign-in")
        box = self.driver.find_element(By.NAME, "token")
        box.send_keys(token)
        box.submit()
        self.wait_for_answer(box)
        return self.text()

    def wait_for_answer(self, sent: WebElement) -> None:
        """Wait until the page of a form that was sent has given way to another."""
        WebDriverWait(self.driver, 90).until(staleness_of(sent))

    def end(self) -> dict[str, Any]:
        """Interrupt the demo; return the document that it prints."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        output, _ = self.process.communicate(timeout=180)
        assert self.process.returncode == 0, self.told()
        document: dict[str, Any] = json.loads(output)
        return document


@contextmanager
def watched_demo(folder: Path) -> Iterator[WatchedDemo]:
    """Start a demo and a browser; both end with the block."""
    options = ("--until", "swap", "--hold", "--timeout", str(CYCLE_S), "--json")
    with (folder / STORY).open("wb") as errors, browsing(folder / "profile") as driver:
        environ = with_folder(folder)
        del environ["HYPERDRIFT_WEB__LISTEN"]  # the other tests have no page
        process = subprocess.Popen(
            (*DEMO, *options), stdout=subprocess.PIPE, stderr=errors, env=environ
        )
        try:
            show_as(driver, DESK, "light")
            yield _meet(process, folder, driver)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(180)


def _meet(process: subprocess.Popen[bytes], folder: Path, driver: Chrome) -> WatchedDemo:
    """Read where the page and the broker are, and wait until the page answers."""
    deadline, story = time.monotonic() + 240, folder / STORY
    while not (found := re.search(r"mqtt://\S+", story.read_text())):
        assert time.monotonic() < deadline, story.read_text()
        time.sleep(0.1)
    page = re.match(r" +page  (http://\S+/)  sign in with (\S+) to act\n", story.read_text())
    assert page, "the page's address comes first"
    broker = BrokerAddress.parse(found.group())
    url, token = page.groups()
    demo = WatchedDemo(process, folder, driver, url, token, broker)
    while not lives(url):
        assert time.monotonic() < deadline, demo.told()
        time.sleep(0.1)
    return demo


def lives(url: str) -> bool:
    """Whether a page answers at `url`."""
    try:
        with urllib.request.urlopen(f"{url}healthz") as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def say(broker: BrokerAddress, topic: str, message: dict[str, Any]) -> None:
    """Publish one message, as a stranger with a broker's address would."""
    publish.single(topic, json.dumps(message), qos=1, hostname=broker.host, port=broker.port)


def with_folder(folder: Path) -> dict[str, str]:
    """Return the environment of a demo that makes its own folder in `folder`."""
    return {**os.environ, "TMPDIR": str(folder)}


def left_behind(folder: Path, *names: str) -> set[str]:
    """Return what is left of ended demos of `folder`, also after a while; of `names` if given.

    A process whose parent was killed ends a moment after it.
    """
    until = time.monotonic() + 60
    while True:
        found = leftovers(folder)
        if names:
            found = {words for words in found if any(name in words for name in names)}
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.1)


def leftovers(folder: Path) -> set[str]:
    """Return what there is of demos of `folder`: their own folders, and processes."""
    found = {str(path) for path in folder.glob("hyperdrift-demo-*")}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="replace").replace("\0", " ")
            if f"{folder}/hyperdrift-demo-" in words:
                found.add(words)
    return found


def check_cycle(summary: dict[str, Any]) -> None:
    """Hold what a demo says at its end against a whole cycle."""
    first, second = summary["swaps"][:2]
    assert first["trigger"] == "first"
    assert second["trigger"] in {"drift", "win_rate", "command"}
    assert second["previous_id"] == first["model_id"]
    for swap in (first, second):
        assert len(swap["gates"]) >= 11
        assert all(gate["passed"] for gate in swap["gates"])
        assert 0 < swap["order_to_ack_ms"] < 60_000
    assert summary["store"]["equal_to_recording"]
    assert summary["bars"] > 100
    assert summary["predictions"] > 50
