"""What a caller may do: a route names the scope that it needs."""

from __future__ import annotations

from starlette.requests import Request

from ..errors import ScopeMissing
from .accept import principal_of

_READS = frozenset({"GET", "HEAD", "OPTIONS"})


def check_scope(request: Request, scope: str, *, reads: bool | None = None) -> None:
    """Raises `ScopeMissing` where the caller's key or token does not allow this.

    `reads`: whether `read` is enough; None: for a GET. A GET that asks a model something says False.
    """
    principal = principal_of(request)
    if principal is None:
        return  # an application that mounts this API has its own rules
    if not principal.may(scope, reads=request.method in _READS if reads is None else reads):
        raise ScopeMissing(f"this needs the scope {scope}")
