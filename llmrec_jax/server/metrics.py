"""Counts and times of requests in the text format of Prometheus. Labels have few values: routes, not paths."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one app, in a registry of its own."""

    def __init__(self, num_items: Callable[[], Mapping[str, int]]):
        """`num_items` gives the number of items of each bundle."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "llmrec_requests", "Requests by route, method and status.", ("route", "method", "status"),
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "llmrec_request_seconds", "Time from the first byte of a request to the end of its response.", ("route",),
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.in_progress = Gauge("llmrec_requests_in_progress", "Requests in progress.", registry=self.registry)
        self.batch_size = Histogram(
            "llmrec_batch_size", "Requests for recommendations that were computed together.",
            buckets=SIZES, registry=self.registry,
        )  # fmt: skip
        self.reloads = Counter(
            "llmrec_reloads", "Loads of a changed bundle, by outcome.", ("bundle", "outcome"), registry=self.registry
        )
        self.registry.register(_Items(num_items))

    def text(self) -> bytes:
        """All metrics in the text format."""
        return generate_latest(self.registry)


class _Items(Collector):
    def __init__(self, num_items: Callable[[], Mapping[str, int]]):
        self._num_items = num_items

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily("llmrec_items", "Items of the catalogue that is recommended.", labels=("bundle",))
        for name, number in self._num_items().items():
            family.add_metric([name], number)
        return [family]
