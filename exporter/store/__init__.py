"""What is known of every link, and what must be remembered of requests."""

from exporter.store.backend import Attempt, Backend, Denied, Grant, MemoryBackend, Pause, Scope
from exporter.store.choose import backend_for
from exporter.store.store import Store

__all__ = ["Attempt", "Backend", "Denied", "Grant", "MemoryBackend", "Pause", "Scope", "Store", "backend_for"]
