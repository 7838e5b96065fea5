"""Keys by their address, from a real server of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headwater.errors import ConfigError, IdentityUnavailable, TokenRefused
from headwater.identity import IdentitySettings, jwks
from headwater.identity.jwks import Jwks
from headwater.identity.tokens import TokenVerifier

from .kit import ManualClock
from .signing import KeyServer, jwk, key_server, private_key, signed


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with key_server() as serving:
        serving.serve(jwk("RS256", kid="a"), jwk("ES256", kid="b"), jwk("EdDSA", kid="c"))
        yield serving


@pytest.fixture
async def verifier(server: KeyServer, clock: ManualClock) -> AsyncIterator[TokenVerifier]:
    made = TokenVerifier(IdentitySettings(jwt_jwks_url=server.url), clock)
    yield made
    await made.close()


def token(kind: str = "RS256", kid: object = "a", number: int = 0) -> str:
    return signed(private_key(kind, number), kind, {"kid": kid} if kid is not None else None)


async def test_each_key_checks_its_own_tokens_and_is_fetched_once(server: KeyServer, verifier: TokenVerifier) -> None:
    for kind, kid in (("RS256", "a"), ("ES256", "b"), ("EdDSA", "c")):
        assert (await verifier.verify(token(kind, kid))).principal.user == "ann"
    for kind, kid in (("RS256", "b"), ("ES256", "a"), ("EdDSA", "a")):
        with pytest.raises(TokenRefused):
            await verifier.verify(token(kind, kid))
    with pytest.raises(TokenRefused):
        await verifier.verify(token("RS256", "a", number=1))  # the right name, another key
    assert server.asked == 1


async def test_many_at_once_fetch_once(server: KeyServer, verifier: TokenVerifier) -> None:
    server.gate.clear()
    tasks = [asyncio.create_task(verifier.verify(token())) for _ in range(20)]
    await server.arrived.wait()
    tasks[0].cancel()
    server.gate.set()
    assert {found.principal.user for found in await asyncio.gather(*tasks[1:])} == {"ann"}
    assert server.asked == 1


async def test_unknown_keys_are_looked_for_at_most_every_half_minute(
    server: KeyServer, verifier: TokenVerifier, clock: ManualClock
) -> None:
    """Else made-up tokens would make this server flood the other."""
    await verifier.verify(token())
    for number in range(10):
        with pytest.raises(TokenRefused):
            await verifier.verify(token(kid=f"x{number}"))
    assert server.asked == 1
    clock.advance(30)
    server.serve(jwk("RS256", 1, kid="new"))
    assert (await verifier.verify(token(kid="new", number=1))).principal.user == "ann"
    with pytest.raises(TokenRefused):
        await verifier.verify(token())  # withdrawn
    assert server.asked == 2


async def test_a_token_that_names_no_key_is_checked_by_the_only_one(
    server: KeyServer, verifier: TokenVerifier, clock: ManualClock
) -> None:
    with pytest.raises(TokenRefused):
        await verifier.verify(token(kid=None))
    clock.advance(30)
    server.serve(jwk("RS256"), jwk("ES256", use="enc"))
    assert (await verifier.verify(token(kid=None))).principal.user == "ann"


@pytest.mark.parametrize("bad", ["x", "a.b.c", "e30.e30.e30"])
async def test_bytes_that_are_no_token_fetch_nothing(server: KeyServer, verifier: TokenVerifier, bad: str) -> None:
    await verifier.verify(token())
    with pytest.raises(TokenRefused):
        await verifier.verify(bad)
    assert server.asked == 1


@pytest.mark.parametrize(
    "useless",
    [
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U", "kid": "a"},
        jwk("RSA-1024", kid="a"),
        jwk("RS256", kid="a") | {"use": "enc"},
        jwk("RS256", kid="a") | {"alg": "RS512"},
        jwk("RS256", kid="a") | {"key_ops": ["encrypt"]},
        jwk("ES384", kid="a"),
        {"kty": "RSA", "kid": "a", "n": "!", "e": 5},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "a"},
        {"kty": ["RSA"], "kid": "a"},
        {},
    ],
    # Of keys made anew in each process, nothing that differs.
    ids=["shared", "short", "encrypts", "RS512", "key_ops", "P-384", "damaged", "no_point", "kind", "empty"],
)
async def test_keys_that_are_not_taken(server: KeyServer, verifier: TokenVerifier, useless: dict[str, Any]) -> None:
    server.serve(useless, jwk("ES256", kid="b"))
    with pytest.raises(TokenRefused):
        await verifier.verify(token())
    assert (await verifier.verify(token("ES256", "b"))).principal.user == "ann"


async def test_the_first_of_a_name_stands(server: KeyServer, verifier: TokenVerifier) -> None:
    server.serve(jwk("RS256", kid="a"), jwk("RS256", 1, kid="a"))
    assert await verifier.verify(token())
    with pytest.raises(TokenRefused):
        await verifier.verify(token(number=1))


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (500, "", b'{"keys":[]}'),
        (302, "Location: /elsewhere\r\n", b""),
        (200, "", b"<html>"),
        (200, "", b"[]"),
        (200, "", b'{"keys":[]}'),
        (200, "", b'{"keys":[' + b" " * jwks.MAX_BYTES + b"]}"),
    ],
    ids=["status", "redirect", "html", "list", "no key", "huge"],
)
async def test_an_answer_that_is_no_key_set(
    server: KeyServer, verifier: TokenVerifier, clock: ManualClock, status: int, headers: str, body: bytes
) -> None:
    server.status, server.headers, server.body = status, headers, body
    for _ in range(3):
        with pytest.raises(IdentityUnavailable) as caught:
            await verifier.verify(token())
    assert (caught.value.http_status, caught.value.retryable) == (503, True)
    assert server.asked == 1  # and not three times
    clock.advance(5)
    server.headers = ""
    server.serve(jwk("RS256", kid="a"))
    assert await verifier.verify(token())


async def test_a_server_that_hangs_is_left(
    server: KeyServer, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT_S", 0.01)
    server.gate.clear()
    with pytest.raises(IdentityUnavailable):
        await verifier.verify(token())
    assert "could not be fetched" in caplog.text


async def test_while_the_server_is_away_its_keys_go_on_for_an_hour(
    server: KeyServer, verifier: TokenVerifier, clock: ManualClock
) -> None:
    await verifier.verify(token())
    server.status = 503
    clock.advance(jwks.CACHE_S)
    assert await verifier.verify(token())  # nobody waits for the new ones
    source = verifier._source
    assert isinstance(source, Jwks)
    assert source._fetching is not None
    await source._fetching
    assert server.asked == 2
    assert await verifier.verify(token())
    clock.advance(jwks.MAX_STALE_S)
    with pytest.raises(IdentityUnavailable):
        await verifier.verify(token())


async def test_withdrawn_keys_are_gone_after_the_cache_s_time(
    server: KeyServer, verifier: TokenVerifier, clock: ManualClock
) -> None:
    await verifier.verify(token())
    server.serve(jwk("ES256", kid="b"))
    clock.advance(jwks.CACHE_S)
    await verifier.verify(token())
    source = verifier._source
    assert isinstance(source, Jwks)
    assert source._fetching is not None
    await source._fetching
    with pytest.raises(TokenRefused):
        await verifier.verify(token())


async def test_closing_ends_a_fetch_under_way(server: KeyServer, clock: ManualClock) -> None:
    source = Jwks(server.url, clock)
    await source.close()
    server.gate.clear()
    waiting = asyncio.create_task(source.key(token()))
    await server.arrived.wait()
    await source.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://id.example/keys", True),
        ("http://127.0.0.1:9/keys", True),
        ("http://[::1]/keys", True),
        ("http://localhost/keys", True),
        ("http://id.example/keys", False),
        ("http://127.0.0.1.evil.example/keys", False),
        ("http://169.254.169.254/", False),
        ("https://user:secret@id.example/keys", False),
        ("file:///etc/passwd", False),
        ("data:application/json,{}", False),
        ("https://", False),
        ("https://[", False),
        ("keys", False),
    ],
)
def test_which_addresses_are_taken(url: str, taken: bool, clock: ManualClock) -> None:
    if taken:
        Jwks(url, clock)
        return
    with pytest.raises(ConfigError) as caught:
        Jwks(url, clock)
    assert "secret" not in caught.value.message
