"""Bearer tokens: what is taken, and everything that is not. Signed with real keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest

from headwater.errors import ConfigError, TokenRefused
from headwater.identity import IdentitySettings
from headwater.identity.tokens import (
    EXPIRED,
    MAX_TOKEN_BYTES,
    NO_NAME,
    NOT_FOR_US,
    NOT_VALID,
    NOT_YET,
    TokenVerifier,
    read_public_key,
)

from .signing import SECRET, claims, private_key, public_pem, signed

STRICT = {"jwt_issuer": "https://id.example", "jwt_audience": "headwater", "jwt_leeway_s": 10}
FOR_US = {"iss": "https://id.example", "aud": "headwater"}


def verifier(**settings: Any) -> TokenVerifier:
    given = settings if {"jwt_public_key", "jwt_secret"} & set(settings) else {"jwt_secret": SECRET} | settings
    return TokenVerifier(IdentitySettings(**given))


def encoded(part: object) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(head: object, body: object, key: bytes | None = None) -> str:
    """A token that no library would make."""
    text = f"{encoded(head)}.{encoded(body)}"
    return f"{text}.{encoded(hmac.digest(key, text.encode(), hashlib.sha256) if key is not None else b'')}"


async def refused(token: str, **settings: Any) -> str:
    with pytest.raises(TokenRefused) as caught:
        await verifier(**settings).verify(token)
    assert (caught.value.http_status, caught.value.code) == (401, "invalid_token")
    assert SECRET not in caught.value.message
    return caught.value.message


async def test_a_good_token_says_who_it_is() -> None:
    expires = int(time.time()) + 100
    token = signed(org="acme", project="web", scope="headwater:chat read openid", orgs=["b", "a"], exp=expires)
    found = await verifier(jwt_leeway_s=5).verify(token)
    who = found.principal
    assert (who.tenant, who.organization, who.project, who.user) == (
        "org:acme/project:web/user:ann", "acme", "web", "ann",
    )  # fmt: skip
    assert (who.scopes, who.organizations, who.key_id, who.meters) == ({"chat", "read"}, {"a", "b"}, "", ())
    assert found.expires_ms == (expires + 5) * 1000


@pytest.mark.parametrize("kind", ["RS256", "ES256", "EdDSA"])
async def test_a_public_key_checks_its_own_algorithm(kind: str) -> None:
    check = verifier(jwt_public_key=public_pem(kind))
    assert (await check.verify(signed(private_key(kind), kind))).principal.user == "ann"
    await check.close()
    for other in ("RS256", "ES256", "EdDSA"):
        key = private_key(other, 1)
        assert await refused(signed(key, other), jwt_public_key=public_pem(kind)) == NOT_VALID


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
async def test_a_key_has_one_algorithm_even_where_its_type_has_more(algorithm: str) -> None:
    token = signed(private_key("RS256"), algorithm)
    assert await refused(token, jwt_public_key=public_pem("RS256")) == NOT_VALID


async def test_a_line_break_of_a_key_may_be_written_out() -> None:
    pem = public_pem("ES256").replace("\n", "\\n")
    assert (await verifier(jwt_public_key=pem).verify(signed(private_key("ES256"), "ES256"))).principal.user == "ann"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 5, ["HS256"]])
@pytest.mark.parametrize("signature", [None, SECRET.encode()])
async def test_no_algorithm_is_none(alg: object, signature: bytes | None) -> None:
    assert await refused(by_hand({"alg": alg, "typ": "JWT"}, claims(), signature)) == NOT_VALID
    assert await refused(by_hand({"alg": alg}, claims(), signature), jwt_public_key=public_pem("RS256")) == NOT_VALID


@pytest.mark.parametrize("kind", ["RS256", "ES256", "EdDSA"])
async def test_a_public_key_is_no_shared_secret(kind: str) -> None:
    """HS256 "signed" with what everybody may know."""
    pem = public_pem(kind)
    for key in (pem.encode(), pem.strip().encode()):
        assert await refused(by_hand({"alg": "HS256", "typ": "JWT"}, claims(), key), jwt_public_key=pem) == NOT_VALID


FAR_AHEAD = 2**33  # the year 2242, however late in a long run a test has its turn


async def test_a_secret_takes_no_other_algorithm_and_no_key_of_the_token_s_own() -> None:
    key = private_key("RS256")
    assert await refused(signed(key, "RS256")) == NOT_VALID
    own = {"jwk": {"kty": "oct", "k": encoded(b"x" * 32)}, "jku": "http://127.0.0.1:1/", "kid": "../../dev/null"}
    assert await refused(signed("x" * 32, head=own)) == NOT_VALID
    assert await refused(jwt.encode(claims(), SECRET + SECRET, "HS512")) == NOT_VALID
    assert await refused(signed("another secret of at least 32 bytes")) == NOT_VALID


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"exp": int(time.time()) - 60}, EXPIRED),
        ({"exp": None}, NOT_VALID),
        ({"exp": "soon"}, NOT_VALID),
        ({"exp": []}, NOT_VALID),
        ({"nbf": FAR_AHEAD}, NOT_YET),
        ({"iat": FAR_AHEAD}, NOT_YET),
        ({"iat": "now"}, NOT_VALID),
        ({"aud": "other"}, NOT_FOR_US),
        ({"aud": None}, NOT_FOR_US),
        ({"aud": ["a", "b"]}, NOT_FOR_US),
        ({"aud": {"headwater": 1}}, NOT_FOR_US),
        ({"iss": "https://evil.example"}, NOT_FOR_US),
        ({"iss": None}, NOT_FOR_US),
        ({"iss": ["https://id.example"]}, NOT_FOR_US),
        ({"sub": None}, NO_NAME),
        ({"sub": ""}, NO_NAME),
        ({"sub": "x" * 201}, NO_NAME),
        ({"sub": "a\x00b"}, NO_NAME),
        ({"org": {"id": 1}}, NO_NAME),
        ({"org": 7}, NO_NAME),
        ({"orgs": "acme"}, NO_NAME),
        ({"orgs": [1]}, NO_NAME),
        ({"scope": 7}, NOT_VALID),
        ({"scope": {"chat": True}}, NOT_VALID),
    ],
)
async def test_a_signed_token_that_does_not_hold(more: dict[str, object], said: str) -> None:
    token = by_hand({"alg": "HS256", "typ": "JWT"}, claims(**(FOR_US | more)), SECRET.encode())
    assert await refused(token, **STRICT) == said


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ({"alg": "HS256"}, b'{"sub":"a","exp":1e999}'),
        ({"alg": "HS256"}, b'{"sub":"a","exp":NaN}'),
        ({"alg": "HS256"}, b'{"sub":"a","exp":' + b"9" * 5000 + b"}"),
        ({"alg": "HS256"}, b'{"sub":"\\ud800","exp":9999999999}'),
        ({"alg": "HS256"}, b"[" * 6000),
        ({"alg": "HS256"}, b"[]"),
        ({"alg": "HS256"}, b"\xff"),
        (b"[" * 6000, b"{}"),
        (b"[]", b"{}"),
        ({"alg": "HS256", "crit": ["x"]}, b'{"sub":"a","exp":9999999999}'),
        ({"alg": "HS256", "kid": 5}, b'{"sub":"a","exp":9999999999}'),
    ],
)
async def test_bytes_that_are_no_token(head: object, body: bytes) -> None:
    assert await refused(by_hand(head, body, SECRET.encode())) in (NOT_VALID, NO_NAME)


@pytest.mark.parametrize("token", ["", "..", "a.b.c", "é.é.é", "a.b", "a.b.c.d", "\x00.\x00.\x00"])
async def test_garbage(token: str) -> None:
    assert await refused(token) == NOT_VALID


async def test_a_far_end_is_a_number_like_another() -> None:
    far = by_hand({"alg": "HS256"}, b'{"sub":"a","exp":' + b"9" * 400 + b"}", SECRET.encode())
    assert (await verifier().verify(far)).expires_ms == (10**11 + 10) * 1000


async def test_what_is_told_of_expiry_is_told_to_the_signer_only() -> None:
    assert await refused(signed("another secret of at least 32 bytes", exp=1)) == NOT_VALID


async def test_a_huge_token_is_not_even_looked_at() -> None:
    token = signed(filler="x" * 7000)
    assert len(token) > MAX_TOKEN_BYTES
    assert await refused(token) == NOT_VALID


async def test_clocks_may_differ_by_the_leeway() -> None:
    now = int(time.time())
    token = signed(exp=now - 60, nbf=now + 60, iat=now + 60)
    assert (await verifier(jwt_leeway_s=120).verify(token)).principal.user == "ann"


async def test_audience_and_issuer_are_checked_where_they_are_set() -> None:
    assert (await verifier(**STRICT).verify(signed(**FOR_US))).principal.user == "ann"
    assert (await verifier(**STRICT).verify(signed(**FOR_US | {"aud": ["x", "headwater"]}))).principal.user == "ann"
    assert (await verifier().verify(signed(iss="any", aud="any"))).principal.user == "ann"


@pytest.mark.parametrize(
    ("level", "more", "tenant"),
    [
        ("user", {"org_id": "acme"}, "org:acme/user:ann"),
        ("user", {"org": "", "organization": "acme", "org_id": "x"}, "org:acme/user:ann"),
        ("project", {"org": "acme", "project": "web"}, "org:acme/project:web"),
        ("project", {"org": "acme"}, None),
        ("organization", {"org": "acme", "project": "web", "sub": None}, "org:acme"),
        ("organization", {}, None),
        ("user", {"sub": "a/b:c"}, "user:a%2Fb%3Ac"),
    ],
)
async def test_how_far_down_the_tenant_goes(level: str, more: dict[str, object], tenant: str | None) -> None:
    """Who lacks the name of the level is nobody: all of them would else be one tenant."""
    if tenant is None:
        assert await refused(signed(**more), jwt_tenant=level) == NO_NAME
    else:
        assert (await verifier(jwt_tenant=level).verify(signed(**more))).principal.tenant == tenant


@pytest.mark.parametrize(
    ("more", "scopes"),
    [
        ({}, {"chat", "documents"}),
        ({"scope": "openid profile email"}, {"chat", "documents"}),
        ({"scope": "headwater:documents chat"}, {"chat", "documents"}),
        ({"scopes": ["read", 5, None]}, {"read"}),
        ({"scope": "headwater:admin"}, {"admin"}),
        ({"scope": "admin other:chat"}, set()),
        ({"scope": "headwater:root"}, set()),
    ],
)
async def test_scopes(more: dict[str, object], scopes: set[str]) -> None:
    assert (await verifier().verify(signed(**more))).principal.scopes == scopes


@pytest.mark.parametrize("pem", ["", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])
def test_a_public_key_that_is_none(pem: str) -> None:
    with pytest.raises(ConfigError, match="not a public key"):
        read_public_key(pem)


@pytest.mark.parametrize("kind", ["RSA-1024", "ES384"])
def test_a_public_key_of_another_size(kind: str) -> None:
    with pytest.raises(ConfigError, match="at least 2048 bits"):
        read_public_key(public_pem(kind))
