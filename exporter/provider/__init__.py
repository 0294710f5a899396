"""One request to the provider, one answer from it."""
