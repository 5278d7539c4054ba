"""The site of these pages: `make docs` writes it to build/docs, without a network."""

import re
from pathlib import Path

from sphinx.application import Sphinx

project = "hyperdrift"
author = "the hyperdrift authors"
extensions = ["myst_parser"]
exclude_patterns = ["generate", "reference/vectors"]
html_theme = "furo"
html_title = "hyperdrift"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_last_updated_fmt = None
highlight_language = "sh"  # an indented block is a shell's; other blocks name their language
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]  # no colours for csv


def index_links(_app: Sphinx, name: str, source: list[str]) -> None:
    """Make the menu from the links of an index page, so that the page reads well without it."""
    if Path(name).name != "index":
        return
    pages = dict.fromkeys(re.findall(r"\]\((?!\.\.|https?:)([\w/.-]+)\.md\)", source[0]))
    source[0] += "\n```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"


def plain_graphs(_app: Sphinx, _name: str, source: list[str]) -> None:
    """Show a graph as its text: a script that draws it would have to come from elsewhere."""
    source[0] = source[0].replace("```mermaid", "```text")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what this file adds."""
    app.connect("source-read", index_links)
    app.connect("source-read", plain_graphs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
