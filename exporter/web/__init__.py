"""What the exporter answers over HTTP. Nothing here waits for the provider or the storage."""
