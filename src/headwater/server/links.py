"""GETs that ask a model something, and the links of other sites that lead to them."""

from __future__ import annotations

from starlette.requests import Request

from ..errors import OriginRefused

_FOREIGN = frozenset({"cross-site", "same-site"})


def check_no_link(request: Request) -> None:
    """Without keys, whoever follows a link would ask the model what the link says (CSRF). Raises `OriginRefused`.

    An EventSource is no navigation; see https://www.w3.org/TR/fetch-metadata/.
    """
    headers = request.headers
    if headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-site") in _FOREIGN:
        raise OriginRefused("a link of another site may not start an answer")
