"""Figures for Prometheus, in a registry of our own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from lightcl_edge.serve.board import board

if TYPE_CHECKING:
    from lightcl_edge.serve.service import Service

#: Names of :class:`Board`'s figures, with what they mean.
_FIGURES = {
    "pss_bytes": "memory of the server, shared pages by their share",
    "peak_rss_bytes": "the most memory that the server ever had",
    "learner_pss_bytes": "memory of the process that learns",
    "available_bytes": "memory that the machine has left",
    "temperature_celsius": "of the hottest sensor",
    "disk_free_bytes": "on the disk of the state",
    "written_bytes": "written to the disk by this state",
    "predictions_per_second": "of the last seconds",
    "frames_per_second": "that the source gave in the last seconds",
    "seconds_running": "since the start",
    "clients": "pages that listen",
}


class _Figures(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        service, found = self._service, board(self._service)
        for name, meaning in _FIGURES.items():
            value = getattr(found, name)
            if value is not None:
                yield GaugeMetricFamily(f"lightcl_{name}", meaning, value)
        classes = GaugeMetricFamily("lightcl_taught_pictures", "that wait to be learned", labels=["class_name"])
        for name, count in service.taught.counts().items():
            classes.add_metric([name], count)
        yield classes
        yield GaugeMetricFamily("lightcl_learning", "1 while a task is learned", int(service.trainer.learning.running))
        generation = service.state.current_number() if service.state.exists() else 0
        yield GaugeMetricFamily("lightcl_generation", "in use", generation)


def metrics(service: Service) -> tuple[bytes, str]:
    """The figures as text, and its media type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(service))
    return generate_latest(registry), CONTENT_TYPE_LATEST
