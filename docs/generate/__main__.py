"""`python -m docs.generate`: write every generated page that is not current."""

import sys

from docs.generate.pages import ROOT, stale

for path, content in stale().items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    sys.stdout.write(f"{path.relative_to(ROOT)} written\n")
