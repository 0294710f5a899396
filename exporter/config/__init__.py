"""The configuration: ``config.yaml`` and its link files to frozen models, or every error of them at once.

``loading`` puts everything together. The file passes through these modules in turn:

- ``sources`` reads it, ``syntax`` turns bytes into text;
- ``tree`` turns text into a ``document``: plain data that remembers its places, errors and warnings;
- ``sections`` reads that to typed sections, as ``schema`` says, with ``values`` for single values and
  ``doubts`` for what is probably not meant;
- ``accounts`` and ``links`` make the models and check that they agree, with ``secrets`` and ``proxies``.

What is wrong is reported and left out on the way, so that one load finds all errors. ``link_files`` does the
same for link files: ``formats`` makes a document of each. ``sources`` also follows all files that a load has
looked at.
"""

from exporter.config.link_files import LinkFile
from exporter.config.loading import Config, load
from exporter.config.sources import Sources
from exporter.config.values import parse_duration

__all__ = ["Config", "LinkFile", "Sources", "load", "parse_duration"]
