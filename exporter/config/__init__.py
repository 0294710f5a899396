"""The configuration: ``config.yaml`` and its link files to frozen models, or every error of them at once.

``loading`` puts everything together. The file passes through these modules in turn:

- ``sources`` reads it (with ``files``), ``syntax`` turns bytes into text;
- ``tree`` turns text into a ``document``: plain data that remembers its places;
- ``schema`` says what may be where, with ``values`` for single values and ``wording`` for its messages;
- ``secrets`` finds secrets, ``checks`` and ``intervals`` compare values with each other;
- ``doubts`` warns of what is probably not meant;
- ``build`` makes the models.

``links`` does the same for link files: ``patterns`` finds them, ``formats`` (with ``table`` for CSV) makes a
document of each. ``watching`` follows all files that a load has looked at.
"""

from exporter.config.durations import parse_duration
from exporter.config.links import LinkFile
from exporter.config.loading import Config, load
from exporter.config.sources import Sources

__all__ = ["Config", "LinkFile", "Sources", "load", "parse_duration"]
