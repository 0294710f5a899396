"""Snapshots to Prometheus' text. Each link's lines are rendered once, when they change."""
