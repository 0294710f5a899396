"""The web configuration: who may connect to the exporter's own port, and how.

The file is the one that Prometheus' exporter-toolkit defines (its docs/web-configuration.md), so that those
who have one can use it. ``schema`` has its keys, ``tls`` makes what a handshake needs of
certificates and keys, ``load`` puts all together.
"""

from exporter.webconfig.load import WebConfig, load
from exporter.webconfig.tls import Tls

__all__ = ["Tls", "WebConfig", "load"]
