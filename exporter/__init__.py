"""Prometheus exporter for SMS Centre's short-link click statistics."""

from importlib.metadata import version

__version__ = version("smsc-exporter")
