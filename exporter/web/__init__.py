"""What the exporter answers over HTTP. Nothing here waits for the provider or the storage."""

from exporter.web.guard import Guard
from exporter.web.health import Health
from exporter.web.scrape import GZIP_LEVEL, Scrape, accepts_gzip
from exporter.web.site import make_app, make_health_app

__all__ = ["GZIP_LEVEL", "Guard", "Health", "Scrape", "accepts_gzip", "make_app", "make_health_app"]
