"""Snapshots to Prometheus' text. Each link's lines are rendered once, when they change."""

from exporter.exposition.exposition import Exposition
from exporter.exposition.families import FAMILIES
from exporter.exposition.slot import ROLLOVER, SHOWN, View

__all__ = ["FAMILIES", "ROLLOVER", "SHOWN", "Exposition", "View"]
