"""``python -m exporter`` is ``smsc-exporter``."""

import sys

from exporter.cli import main

sys.exit(main())
