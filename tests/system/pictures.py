"""Take the documentation's pictures from a demo: `python -m tests.system.pictures FOLDER`."""

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.system.browser import DESK, PHONE, Scheme, show_as
from tests.system.watched_demo import WatchedDemo, watched_demo

SLOT: Final = "slots/BTC-5m"
SHORT: Final = (1280, 620)
# Name -> page, screen and scheme.
PICTURES: Final[dict[str, tuple[str, tuple[int, int], Scheme]]] = {
    "overview-light": ("", SHORT, "light"),
    "overview-dark": ("", SHORT, "dark"),
    "slot": (SLOT, (1280, 2400), "light"),
    "version": ("version", (1280, 1600), "light"),
    "journal": ("journal", DESK, "light"),
    "feed": ("feed", (1280, 500), "light"),
    "phone": ("", PHONE, "light"),
}


def take(demo: WatchedDemo, folder: Path) -> None:
    """Write each picture of a demo that has done its cycle."""
    demo.open(SLOT)
    versions = demo.address("a[href*='/versions/']").removeprefix(demo.url)
    for name, (path, size, scheme) in PICTURES.items():
        show_as(demo.driver, size, scheme, scale=2.0 if size == PHONE else 1.0)
        demo.open(versions if path == "version" else path)
        demo.driver.save_screenshot(str(folder / f"{name}.png"))


def main(folder: Path) -> None:
    """Run a demo, and take every picture into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, watched_demo(Path(place)) as demo:
        demo.open(SLOT)
        demo.watch_cycle(lambda: demo.driver.save_screenshot(str(folder / "retraining.png")))
        take(demo, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
