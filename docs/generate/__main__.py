"""`python -m docs.generate`: write every generated page that is not current."""

import sys

from docs.generate.pages import ROOT, stale

for path, text in stale().items():
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    sys.stdout.write(f"{path.relative_to(ROOT)} written\n")
