"""What went over SMPP, for Prometheus: our binds to the SMSC, and the accounts that bind to us."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kairos.smpp import AccountStatistics, BindStatistics, Counters, status_name
from kairos.smpp.statistics import LATENCY_BOUNDS

COUNTED = (
    "throttled_sent",
    "throttled_received",
    "timeouts",
    "unmatched",
    "bad_pdus",
    "handler_failures",
)


class SmppCollector(Collector):
    """One time series for each bind (`smsc 1 host:port transceiver`) and account (`account NAME`)."""

    def __init__(
        self,
        binds: Callable[[], Sequence[BindStatistics]],
        accounts: Callable[[], Sequence[AccountStatistics]],
    ) -> None:
        self.binds, self.accounts = binds, accounts

    def collect(self) -> Iterable[Metric]:
        ends: dict[str, tuple[Mapping[str, float], Counters]] = {}
        for number, bind in enumerate(self.binds(), 1):
            ends[f"smsc {number} {bind.address} {bind.kind}"] = _standing(bind, bind.state == "bound"), bind.counters
        for account in self.accounts():
            ends[f"account {account.account}"] = _standing(account, account.sessions), account.counters
        now = GaugeMetricFamily("kairos_smpp_now", "How SMPP binds and accounts stand", labels=["end", "what"])
        pdus = CounterMetricFamily("kairos_smpp_pdus", "PDUs by command", labels=["end", "way", "command"])
        octets = CounterMetricFamily("kairos_smpp_octets", "Octets", labels=["end", "way"])
        answers = CounterMetricFamily("kairos_smpp_answers", "Answers of the peer by status", labels=["end", "status"])
        counted = CounterMetricFamily("kairos_smpp_counted", "What went wrong or was put off", labels=["end", "what"])
        latency = HistogramMetricFamily("kairos_smpp_latency_seconds", "From request to answer", labels=["end"])
        for end, (standing, counters) in ends.items():
            for what, value in standing.items():
                now.add_metric([end, what], value)
            for way, commands in (("out", counters.sent), ("in", counters.received)):
                for command, count in commands.items():
                    pdus.add_metric([end, way, command], count)
            octets.add_metric([end, "out"], counters.octets_out)
            octets.add_metric([end, "in"], counters.octets_in)
            for status, count in counters.statuses.items():
                answers.add_metric([end, status_name(status)], count)
            for what in COUNTED:
                counted.add_metric([end, what], getattr(counters, what))
            latency.add_metric([end], _buckets(counters), counters.latency.total)
        return [now, pdus, octets, answers, counted, latency]


def _standing(one: BindStatistics | AccountStatistics, bound: float) -> Mapping[str, float]:
    return {
        "bound": bound,
        "bound_for_seconds": one.bound_for or 0.0,
        "binds": one.binds,
        "outstanding": one.outstanding,
        "waiting": one.waiting,
        "window": one.window,
        "rate": one.rate,
    }


def _buckets(counters: Counters) -> list[tuple[str, float]]:
    return list(zip((*map(str, LATENCY_BOUNDS), "+Inf"), accumulate(counters.latency.counts), strict=True))
