"""The web configuration: who may connect to the exporter's own port, and how.

The file is the one that Prometheus' exporter-toolkit defines (its docs/web-configuration.md), so that those
who have one can use it. It passes through these, each a module here: ``schema`` (which keys, with ``values``
for single values), ``checks`` (what must agree), ``tls`` (certificates and keys to what a handshake needs),
``load`` (all together).
"""

from exporter.webconfig.load import RateLimit, WebConfig, load
from exporter.webconfig.tls import Tls

__all__ = ["RateLimit", "Tls", "WebConfig", "load"]
