"""Takes secrets out of texts that come from elsewhere."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from urllib.parse import quote, quote_plus

_LEAST_BASE64 = 8
"""Characters. Shorter pieces occur anywhere by chance, and reveal almost nothing."""


def _in_base64(secret: str, before: int) -> str:
    """What base64 makes of a secret behind so many bytes, less the ends that its neighbours change."""
    data = bytes(before) + secret.encode()
    inside = base64.b64encode(data)[4 if before else 0 : len(data) // 3 * 4]
    return inside.decode() if len(inside) >= _LEAST_BASE64 else ""


# How an answer may spell a secret: as it is, as in a URL, as in XML, as in JSON by PHP and by others, as
# UTF-8 taken for cp1251, and as in an Authorization header.
_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    quote,
    partial(quote, safe=""),
    quote_plus,
    html.escape,
    lambda secret: json.dumps(secret)[1:-1].replace("/", r"\/"),
    lambda secret: json.dumps(secret)[1:-1],
    lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    lambda secret: secret.encode().decode("cp1251", "ignore"),
    *(partial(_in_base64, before=before) for before in range(3)),
)


def scrub(secrets: Iterable[str], text: str) -> str:
    """``text`` with ``***`` in place of every secret, in whichever of the usual ways it is written."""
    spelled = {way(secret) for secret in secrets if secret for way in _SPELLINGS}
    spelled.discard("")
    # The longest first: a spelling may hold another.
    pattern = "|".join(re.escape(one) for one in sorted(spelled, key=len, reverse=True))
    return re.sub(pattern, "***", text, flags=re.IGNORECASE) if pattern else text
