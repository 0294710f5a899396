"""What the exporter answers over HTTP. Nothing here waits for the provider or the storage."""

from exporter.web.health import Health
from exporter.web.lifecycle import Lifecycle
from exporter.web.scrape import GZIP_LEVEL, Scrape, accepts_gzip
from exporter.web.site import make_app
from exporter.web.status import StatusPage

__all__ = ["GZIP_LEVEL", "Health", "Lifecycle", "Scrape", "StatusPage", "accepts_gzip", "make_app"]
