"""What the exporter answers over HTTP. Nothing here waits for the provider or the storage."""

from exporter.web.connections import HEADERS, Connections
from exporter.web.guard import Guard
from exporter.web.health import Health
from exporter.web.lifecycle import Lifecycle
from exporter.web.scrape import Scrape, compressed
from exporter.web.site import MAX_REQUESTS, make_app, make_health_app
from exporter.web.slots import Slots
from exporter.web.status import StatusPage

__all__ = [
    "HEADERS",
    "MAX_REQUESTS",
    "Connections",
    "Guard",
    "Health",
    "Lifecycle",
    "Scrape",
    "Slots",
    "StatusPage",
    "compressed",
    "make_app",
    "make_health_app",
]
