"""Write a page about all cells of a backtest: sortable, and self-contained.

Names of coins come from elsewhere. They are escaped, and the policy of the page runs no script
but the one whose digest it names.
"""

import base64
import hashlib
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from daemon.backtest import cell_table, report
from daemon.backtest.summaries import GridResult
from daemon.core.outside_text import escaped

_SCRIPT: Final = """
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const first = [...body.rows];
  const key = (row, i) => i < row.cells.length - row.dataset.lacks ? row.cells[i].textContent : "-";
  const figure = (text) => text === "best" ? 0 : parseFloat(text);
  const compare = (a, b) => {
    const x = figure(a), y = figure(b);
    if (isNaN(x) || isNaN(y)) {
      return isNaN(x) - isNaN(y) || a.localeCompare(b, "en", {numeric: true});
    }
    return x - y;
  };
  heads.forEach((head, i) => head.firstElementChild.addEventListener("click", () => {
    const turn = {none: "ascending", ascending: "descending", descending: "none"};
    const to = turn[head.getAttribute("aria-sort") || "none"];
    for (const other of heads) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", to);
    const rows = [...first];
    const known = (row) => key(row, i) !== "-";
    if (to !== "none") {
      const way = to === "ascending" ? 1 : -1;
      rows.sort((a, b) => known(b) - known(a) || way * compare(key(a, i), key(b, i)));
    }
    body.append(...rows);
  }));
}
"""
_DIGEST: Final = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_DIGEST}'; "
    "base-uri 'none'; form-action 'none'"
)
_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
p { max-width: 62rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #8a8f9855;
  white-space: nowrap; }
td:nth-child(1), th:nth-child(1), td:nth-child(3), th:nth-child(3) { text-align: left; }
td.why { text-align: left; white-space: normal; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
@media (max-width: 40rem) {
  body { margin: 1rem auto; padding: 0 .6rem; }
  thead tr { display: flex; flex-wrap: wrap; gap: .2rem .8rem; }
  thead th { border: 0; padding: 0; }
  th button { text-decoration: underline; padding: .3rem 0; }
  table, thead, tbody { display: block; }
  tbody tr { display: grid; grid-template-columns: 1fr 1fr; gap: 0 .8rem;
    border-bottom: 2px solid #8a8f9855; padding: .4rem 0; }
  td { border: 0; padding: .1rem 0; text-align: left !important; white-space: normal;
    overflow-wrap: anywhere; }
  td:nth-child(1) { font-weight: 600; grid-column: 1 / -1; }
  td.why { grid-column: 1 / -1; }
  td[data-name]::before { content: attr(data-name) ": "; opacity: .7; }
}
"""
_MEANS: Final = """<h2>Means over the coins</h2>
<div class="wide means">{}</div>
"""


def write(path: Path, done: GridResult) -> None:
    """Write the page.

    Raises:
        OSError: If the file cannot be written.
    """
    cells = _table(cell_table.HEAD[:-1], cell_table.rows(done.slots))
    means = cell_table.summary_rows(done.summaries)
    shown = _MEANS.format(_table(cell_table.SUMMARY_HEAD, means)) if means else ""
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Backtest of {done.cells} cells</title>
<style>{_STYLE}</style></head><body>
<h1>Backtest of {done.cells} cells</h1>
<p><strong>{_text(cell_table.tried(done))}</strong></p>
<p>{_text(report.note(done.slots))}</p>
{shown}<h2>Every cell</h2>
<div class="wide">{cells}</div>
<script>{_SCRIPT}</script>
</body></html>
"""
    path.write_text(page, encoding="utf-8")


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(
        f'<th scope="col"><button type="button">{_text(name)}</button></th>' for name in titles
    )
    body = "".join(_row(titles, row) for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def _row(titles: Sequence[str], row: Sequence[str]) -> str:
    """Return a row; one cell more than titles says why it has no figures."""
    why = row[len(titles)] if len(row) > len(titles) else ""
    shown = row[: cell_table.NAMED] if why else row[: len(titles)]
    cells = "".join(
        f'<td data-name="{html.escape(name)}">{_text(cell)}</td>'
        for name, cell in zip(titles, shown, strict=False)
    )
    if why:
        cells += f'<td class="why" colspan="{len(titles) - len(shown)}">{_text(why)}</td>'
    return f'<tr data-lacks="{int(bool(why))}">{cells}</tr>\n'


def _text(text: str) -> str:
    return html.escape(escaped(text))
