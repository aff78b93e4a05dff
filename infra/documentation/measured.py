"""The reference of what is exported for Prometheus: `alexnet/telemetry/prometheus_metrics.py`."""

from alexnet.telemetry import prometheus_metrics
from alexnet.telemetry.prometheus_metrics import Measure

SOURCES = {
    "training": "Of a training, on the metrics port of the driver's node",
    "model": "Of a registered model, from `pipelines/exporter.py`",
}
"""Headings, by where a measure comes from."""


def reference() -> str:
    """All measures, as tables of Markdown."""
    parts = []
    for source, heading in SOURCES.items():
        rows = [_row(each) for each in prometheus_metrics.ALL if each.source == source]
        head = ["| series | kind | labels | what it is |", "|---|---|---|---|"]
        parts += [f"### {heading}", "\n".join([*head, *rows])]
    return "\n\n".join(parts)


def _row(measure: Measure) -> str:
    labels = ", ".join(measure.labels)
    return f"| `{measure.series}` | {measure.kind} | {labels} | {measure.help} |"
