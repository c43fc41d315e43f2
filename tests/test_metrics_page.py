"""docs/metrics.md and the dashboard name what there is."""

import json
import re
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from blueprints.metrics import Metrics
from tests.support.guard import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text()
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
ROW = re.compile(r"^\| `(clinvk_\w+)` \| ([^|]*)\|", re.MULTILINE)


def served() -> dict[str, set[str]]:
    """The name of each metric as it is queried, with its labels."""
    registry = CollectorRegistry()
    Metrics(registry, ["claude"], "1")
    found = {}
    for metric in registry._collector_to_names:
        assert isinstance(metric, MetricWrapperBase)
        (family,) = metric.describe()
        found[f"{family.name}_total" if family.type == "counter" else family.name] = set(metric._labelnames)
    return found


def test_the_page_names_every_metric_and_its_labels() -> None:
    told = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in ROW.findall(PAGE)}
    assert told == served()


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def test_the_dashboard_asks_for_all_there_is_and_nothing_else() -> None:
    asked = {name for text in expressions() for name in re.findall(r"clinvk_\w+?(?=_bucket\b|\b)", text)}
    assert asked == served().keys()
