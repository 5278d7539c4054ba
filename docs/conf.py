"""The site of these pages: `make docs` writes it to build/docs, without a network."""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.site.graph import svg

project = "hyperdrift"
author = "the hyperdrift authors"
extensions = ["myst_parser"]
exclude_patterns = ["generate", "site", "reference/vectors"]
html_theme = "furo"
html_title = "hyperdrift"
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_last_updated_fmt = None
highlight_language = "sh"  # an indented block is a shell's; other blocks name their language
myst_heading_anchors = 3
linkcheck_ignore = [r"http://127\.0\.0\.1:"]
suppress_warnings = ["misc.highlighting_failure"]  # no colours for csv


def index_links(_app: Sphinx, name: str, source: list[str]) -> None:
    """Make the menu from the links of an index page, so that the page reads well without it."""
    if Path(name).name != "index":
        return
    pages = dict.fromkeys(re.findall(r"\]\((?!\.\.|https?:)([\w/.-]+)\.md\)", source[0]))
    source[0] += "\n```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"


def draw_graphs(_app: Sphinx, _name: str, source: list[str]) -> None:
    """Put the picture of a graph in the place of its text."""
    source[0] = re.sub(
        r"```mermaid\n(.*?)```",
        lambda found: f"```{{raw}} html\n{svg(found[1])}\n```",
        source[0],
        flags=re.DOTALL,
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what this file adds."""
    app.connect("source-read", index_links)
    app.connect("source-read", draw_graphs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
