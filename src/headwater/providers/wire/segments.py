"""Names that become one segment of a URL's path. Pure."""

from __future__ import annotations

from urllib.parse import quote

from ...errors import InputError

# RFC 3986, 5.2.4: clients, proxies and servers resolve these, however they are quoted.
_DOTS = frozenset({"", ".", ".."})


def segment(name: str, *, param: str) -> str:
    """Raises `InputError` for a name that would be another path instead of a segment of this one (CWE-22)."""
    if name in _DOTS:
        raise InputError(f"{param}: {name!r} is no name", param=param)
    return quoted(name)


def quoted(name: str) -> str:
    """A part of a segment, whatever it holds."""
    return quote(name, safe="", errors="replace")
