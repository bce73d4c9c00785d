"""What the engine counted, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kairos.adapters.ingress import HttpIngress


class EngineCollector(Collector):
    """The engine's figures for Prometheus."""

    def __init__(self, ingress: HttpIngress) -> None:
        self.ingress = ingress

    def collect(self) -> Iterable[Metric]:
        stats = self.ingress.stats()
        counted = CounterMetricFamily("kairos_engine", "What the engine counted since it started", labels=["what"])
        for name, count in stats["counts"].items():
            counted.add_metric([name], count)
        refused = CounterMetricFamily("kairos_refusals", "Refusals by gate, rule or limit", labels=["reason"])
        for name, count in stats["refusals"].items():
            refused.add_metric([name], count)
        gauge = GaugeMetricFamily("kairos_now", "How things stand", labels=["what"])
        for name, value in stats["gauges"].items():
            gauge.add_metric([name], value)
        budgets = GaugeMetricFamily("kairos_budget", "Budgets: minor units, or offers", labels=["budget", "what"])
        for name, amounts in stats["budgets"].items():
            for what, amount in amounts.items():
                budgets.add_metric([name, what], amount)
        return [counted, refused, gauge, budgets]
