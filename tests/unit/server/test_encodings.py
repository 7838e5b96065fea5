from __future__ import annotations

import pytest

from headwater.server.encodings import accepted

OFFERED = ("gzip", "zstd", "br")


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("", ()),
        ("identity", ()),
        ("gzip", ("gzip",)),
        ("GZIP , BR", ("gzip", "br")),
        ("br, gzip, zstd", ("gzip", "zstd", "br")),  # liked equally: the server's order
        ("gzip;q=0.5, br;q=0.9, zstd;q=0.7", ("br", "zstd", "gzip")),
        ("gzip; Q = 0.5, br", ("br", "gzip")),
        ("gzip;level=9;q=0, br", ("br",)),
        ("*", ("gzip", "zstd", "br")),
        ("*;q=0.1, br", ("br", "gzip", "zstd")),
        ("*, gzip;q=0", ("zstd", "br")),
        ("gzip;q=much, br", ("br",)),
        ("compress, x-gzip", ()),
        (",;,q=1,", ()),
    ],
)
def test_what_a_client_takes(header: str, takes: tuple[str, ...]) -> None:
    assert accepted(header, OFFERED) == takes
