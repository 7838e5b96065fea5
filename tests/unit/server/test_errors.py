"""From exception to answer."""

from __future__ import annotations

import json

import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from headwater.errors import HeadwaterError, InputError, LogInUse, ProviderRejected, QueueFull, UnknownModel
from headwater.events import Error
from headwater.server.errors import event_response, exception_response, install

from .asgi import Exchange, http_scope


def content(body: bytes) -> dict[str, object]:
    return json.loads(body)["error"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "status", "kind", "code", "param", "retry_after"),
    [
        (InputError("bad", param="n"), 400, "invalid_request_error", "invalid_request", "n", None),
        (UnknownModel("gone", param="model"), 404, "not_found_error", "model_not_found", "model", None),
        (QueueFull("full", retry_after_s=0.2), 429, "rate_limit_error", "queue_full", None, "1"),
        (
            ProviderRejected("slow", status=429, upstream_code="rate", retry_after_s=30.0),
            429, "rate_limit_error", "rate", None, "30",
        ),
        (ProviderRejected("odd", status=299), 502, "api_error", "provider_rejected", None, None),
        (HeadwaterError("?"), 500, "api_error", "internal_error", None, None),
    ],
)  # fmt: skip
def test_an_exception(
    error: HeadwaterError, status: int, kind: str, code: str, param: str | None, retry_after: str | None
) -> None:
    response = exception_response(error)
    assert response.status_code == status
    assert response.headers.get("retry-after") == retry_after
    assert content(bytes(response.body)) == {"message": error.message, "type": kind, "code": code, "param": param}


def test_an_event() -> None:
    response = event_response(Error("provider_rejected", "no", 401, code="bad_key", retry_after_s=-1.0), {"X-A": "b"})
    assert (response.status_code, response.headers["retry-after"], response.headers["x-a"]) == (401, "0", "b")
    assert content(bytes(response.body))["code"] == "bad_key"


async def test_what_frameworks_raise() -> None:
    app = FastAPI()
    install(app)

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "short and stout")

    @app.get("/gone")
    async def gone() -> None:
        raise ClientDisconnect

    pot = Exchange(http_scope("/teapot"))
    await pot.run(app)
    assert pot.status == 418
    assert content(pot.body)["message"] == "short and stout"
    left = Exchange(http_scope("/gone"))
    await left.run(app)
    assert left.status == 499


def test_a_logs_own_words_stay_here() -> None:
    """They name files and processes of the server's machine."""
    response = exception_response(LogInUse("/secret/place is in use by process 7"))
    assert response.status_code == 503
    assert content(bytes(response.body))["code"] == "log_in_use"
    assert b"secret" not in response.body
