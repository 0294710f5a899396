"""Snapshots to Prometheus' text. Each link's lines are rendered once, when they change."""

from exporter.exposition.exposition import Exposition
from exporter.exposition.families import FAMILIES, FIGURES
from exporter.exposition.slot import ROLLOVER, View

__all__ = ["FAMILIES", "FIGURES", "ROLLOVER", "Exposition", "View"]
