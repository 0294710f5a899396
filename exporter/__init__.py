"""Prometheus exporter for SMS Centre's short-link click statistics."""


def __getattr__(name: str) -> str:
    """The version, looked up when it is asked for: that takes a tenth of a second of each start."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("smsc-exporter")
