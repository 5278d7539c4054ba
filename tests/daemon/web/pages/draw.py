"""Write example pages to a folder, to look at: `python -m tests.daemon.web.pages.draw FOLDER`."""

import shutil
import sys
from pathlib import Path

from daemon.web.pages.renderer import STATIC, PageRenderer
from tests.daemon.web.pages import examples


def draw(folder: Path) -> None:
    shutil.copytree(STATIC, folder / "static", dirs_exist_ok=True)
    pages = PageRenderer()
    shown = {
        **{name: (name, view) for name, view in examples.all_views().items()},
        "many": ("overview", examples.many_slots()),
        "feed-many": ("feed", examples.feed_view(200)),
        "retraining": ("slot", examples.slot_view("busy", "retraining")),
        "refused": ("version", examples.version_view(passed=False)),
    }
    for signed_in in (False, True):
        for file, (name, view) in shown.items():
            text = pages.render(
                name,
                view,
                signed_in=signed_in,
                csrf="c" * 43,
                now_ms=examples.NOW_MS,
                notice="Retrain 8 starts now." if signed_in else "",
            )
            path = folder / f"{file}{'-signed-in' if signed_in else ''}.html"
            path.write_text(text.replace('"/static/', '"static/'))


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
