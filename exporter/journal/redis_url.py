"""Where Redis is, from ``storage.url``. The password goes no further than the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter import storage_url
from exporter.errors import StorageError
from exporter.storage_url import Redis as Address

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["Address", "parse"]


def parse(url: SecretStr) -> Address:
    """Reads the URL. Raises StorageError, which never quotes what may be part of a password."""
    try:
        found = storage_url.parse(url.get_secret_value())
    except ValueError as error:
        raise StorageError(f"storage.url {error}") from None
    if not isinstance(found, Address):
        raise StorageError(f"storage.url is not the URL of a Redis server: {storage_url.FORM}")
    if missing := storage_url.missing_file(found):
        raise StorageError(f"storage.url: {missing}")
    return found
