"""URLs as they are shown, recorded and logged: without the password in them."""

from __future__ import annotations

import re

from differnet.errors import in_a_line

_PASSWORD = re.compile(r"(?<=//)[^/]*@")  # up to the last @: a password may have one


def without_password(url: str) -> str:
    """Return a URL without user and password, as it is shown and recorded.

    >>> without_password("rtsp://admin:secret@10.0.0.7/stream")
    'rtsp://10.0.0.7/stream'
    """
    return _PASSWORD.sub("", url)


def said(error: Exception) -> str:
    """Return what went wrong in one line, without the password of a URL in it."""
    return without_password(in_a_line(error))
