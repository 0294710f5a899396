"""The templates, the style of all pages, and what they may load."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from exporter.web.wording import FILTERS

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = (_TEMPLATES / "style.css").read_text("utf-8")
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()

POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
"""The pages' Content-Security-Policy: their own style, icon and form, and nothing else."""

# Everything is escaped, for names and messages come from outside.
ENVIRONMENT = Environment(
    autoescape=True,
    loader=FileSystemLoader(_TEMPLATES),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.globals["style"] = _STYLE
ENVIRONMENT.filters |= {function.__name__: function for function in FILTERS}
