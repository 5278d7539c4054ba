"""The page of the metrics: what a scrape shows, under which name and with which labels."""

from typing import Final

from daemon.web.metrics.catalogue import ENTRIES
from docs.generate.markdown import code, table

_HEAD: Final = """# Metrics

`GET /metrics` of the status page, in the text form of Prometheus or as OpenMetrics, whichever is
asked for: [how to scrape it](../howto/prometheus-grafana.md). Defined in
`daemon/web/metrics/catalogue.py`.

Counters begin at 0 when the daemon starts and never go back while it runs. Ratios are 0 to 1,
returns are fractions: 0.0001 is one basis point. What is not known yet has no line. `slot` is
written `BTC-5m`, and empty for what concerns the whole daemon. Beside these there are the
process's own, `process_*`.

"""


def page() -> str:
    """Return the page."""
    rows = ((code(e.name), e.kind, ", ".join(map(code, e.labels)), e.says) for e in ENTRIES)
    return _HEAD + table(("metric", "kind", "labels", "what it says"), rows)
