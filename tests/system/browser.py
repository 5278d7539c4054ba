"""A real Chromium without a window, for the pictures of the pages and for their tests.

It is Debian's chromium with its chromedriver. Phone widths and the dark scheme are emulated as
the browser's own developer tools do it.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

DESK: Final = (1280, 900)
PHONE: Final = (360, 780)
Scheme = Literal["light", "dark"]

_FLAGS: Final = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--hide-scrollbars", "--no-first-run", "--disable-extensions", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--no-proxy-server"),
)


def missing() -> str:
    """Return what has to be installed for a browser; empty if all is there."""
    lacking = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(lacking)}: apt install chromium chromium-driver" if lacking else ""


@contextmanager
def browsing(folder: Path) -> Iterator[Chrome]:
    """Run a browser whose profile is kept in `folder`; it ends with the block."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*_FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.set_capability("unhandledPromptBehavior", "ignore")  # a dialog is a failed test
    driver = Chrome(options, Service(str(shutil.which("chromedriver"))))
    try:
        yield driver
    finally:
        driver.quit()


def show_as(driver: Chrome, size: tuple[int, int], scheme: Scheme, scale: float = 1.0) -> None:
    """Emulate a screen.

    Args:
        driver: The browser.
        size: Width and height in CSS pixels.
        scheme: What the owner's system prefers.
        scale: Device pixels of a CSS pixel.
    """
    width, height = size
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {
            "width": width,
            "height": height,
            "deviceScaleFactor": scale,
            "mobile": width < 600,  # wider screens are no phones
        },
    )
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def overflow(driver: Chrome) -> int:
    """Return by how many CSS pixels the page is wider than the screen."""
    script = "const e = document.documentElement; return e.scrollWidth - e.clientWidth"
    return int(driver.execute_script(script))


def complaints(driver: Chrome) -> list[str]:
    """Return what the browser complained of since the last call, but for refusing answers."""
    log = driver.get_log("browser")  # type: ignore[no-untyped-call]
    severe = [str(entry["message"]) for entry in log if entry["level"] in {"SEVERE", "WARNING"}]
    return [message for message in severe if "Failed to load resource" not in message]
