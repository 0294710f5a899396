"""What the exporter answers over HTTP. Nothing here waits for the provider or the storage."""

from exporter.web.connections import Connections, Site
from exporter.web.health import Health
from exporter.web.lifecycle import Lifecycle
from exporter.web.scrape import GZIP_LEVEL, Scrape, accepts_gzip
from exporter.web.site import MAX_REQUESTS, make_app
from exporter.web.slots import Slots
from exporter.web.status import StatusPage

__all__ = [
    "GZIP_LEVEL",
    "MAX_REQUESTS",
    "Connections",
    "Health",
    "Lifecycle",
    "Scrape",
    "Site",
    "Slots",
    "StatusPage",
    "accepts_gzip",
    "make_app",
]
