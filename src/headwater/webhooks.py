"""Webhooks after the Standard Webhooks specification: signed, tried again, and only to where they may go.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

An address of a private network or of this machine is refused unless the operator allows it, and so are redirects and
the environment's proxies: whoever can change the settings, or the name's addresses, must not reach what only this
machine can (SSRF). A name is looked up for each attempt, and the connection goes to the addresses that were checked.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import logging
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from .errors import ConfigError

if TYPE_CHECKING:
    import aiohttp

_logger = logging.getLogger(__name__)

SECRET_PREFIX = "whsec_"  # noqa: S105 -- what a secret begins with
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
# Messages on their way or waiting for another attempt; more are dropped, which is told in the log.
MAX_PENDING = 100
FIRST_RETRY_S, RETRY_FACTOR, LONGEST_RETRY_S = 2.0, 4.0, 900.0

Outcome: TypeAlias = Literal["delivered", "refused", "again"]


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`secret`: `whsec_` and 24 to 64 bytes in base64. `attempts`: of one message. `private`: whether addresses of
    private networks and of this machine are allowed.
    """

    url: str
    secret: str
    timeout_s: float = 10.0
    attempts: int = 6
    private: bool = False


def check_url(url: str) -> str:
    """The host, as the client will take it: digits of other scripts are digits, and other dots dots.

    Raises `ConfigError`, which does not quote the address: there may be a secret in it.
    """
    from yarl import URL  # aiohttp's own

    try:
        parts = urlsplit(url)
        host, _ = URL(url).raw_host or "", parts.port
    except ValueError:
        raise ConfigError("the webhook's url is not an address") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise ConfigError("the webhook's url must be http://… or https://…, without a user or password")
    return host


def decode_secret(secret: str) -> bytes:
    """Raises `ConfigError`."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ConfigError(
            f"the webhook's secret must be {SECRET_PREFIX} and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes in base64"
        )
    return key


def signature_of(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`."""
    signed = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


# RFC 4291, section 2.4: the rest is private, reserved, or a way to write an IPv4 address.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


def may_reach(address: str) -> bool:
    """Whether an address is one of the public network, also where it hides an IPv4 address in an IPv6 one."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        hidden = found.ipv4_mapped or found.sixtofour or _nat64(found)
        if hidden is not None and not hidden.is_global:
            return False
        if hidden is None and found not in _GLOBAL_UNICAST:
            return False
    return found.is_global and not found.is_multicast


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """RFC 6052, section 2.1."""
    prefix = ipaddress.IPv6Network("64:ff9b::/96")
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in prefix else None


class Webhook:
    """`send` in the loop that it is closed in. Raises `ConfigError` for settings that cannot work.

    `pause`: as `asyncio.sleep`.
    """

    def __init__(
        self, settings: WebhookSettings, *, pause: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        host = check_url(settings.url)
        self._key = decode_secret(settings.secret)
        self._settings = settings
        self._pause = pause
        self._session: aiohttp.ClientSession | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._gone = False
        if not settings.private and not _may_be_public(host):
            raise ConfigError("the webhook's url is in a private network; alert_webhook_private allows it")

    def send(self, kind: str, at: str, data: object) -> None:
        """Returns at once. `at`: when it happened (RFC 3339)."""
        if self._gone:
            return
        if len(self._sending) >= MAX_PENDING:
            _logger.warning("a webhook is dropped: %d wait to be delivered", MAX_PENDING)
            return
        body = msgspec.json.encode({"type": kind, "timestamp": at, "data": data})
        sending = self._deliver(f"msg_{uuid.uuid4().hex}", body)
        task = asyncio.get_running_loop().create_task(sending, name="headwater-webhook")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def close(self, grace_s: float = 2.0) -> None:
        """Let what is on its way arrive, for `grace_s`; what is not delivered by then is not."""
        if self._sending:
            await asyncio.wait(tuple(self._sending), timeout=grace_s)
            rest = tuple(self._sending)
            for task in rest:
                task.cancel()
            if rest:
                await asyncio.wait(rest)
                _logger.warning("%d webhooks are not delivered: the server stops", len(rest))
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _deliver(self, message_id: str, body: bytes) -> None:
        delay_s = FIRST_RETRY_S
        for attempt in range(1, self._settings.attempts + 1):
            try:
                outcome, told, wait_s = await self._attempt(message_id, body)
            except Exception as exc:  # noqa: BLE001 -- a task's boundary; what a connection may raise is no short list
                outcome, told, wait_s = "again", _why(exc), 0.0
            if outcome == "delivered":
                return
            if outcome == "refused" or attempt == self._settings.attempts:
                _logger.error("a webhook is not delivered after %d attempts: %s", attempt, told)
                return
            wait_s = min(max(delay_s, wait_s), LONGEST_RETRY_S)
            _logger.warning("a webhook failed, and is tried again in %g s: %s", wait_s, told)
            await self._pause(wait_s)
            delay_s *= RETRY_FACTOR

    async def _attempt(self, message_id: str, body: bytes) -> tuple[Outcome, str, float]:
        """What came of it, in words, and how long the receiver wants to be left alone."""
        timestamp = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "headwater",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature_of(self._key, message_id, timestamp, body),
        }
        session = self._session = self._session or _make_session(self._settings)
        # The answer's body is nobody's business, however long it is.
        async with session.post(self._settings.url, data=body, headers=headers, allow_redirects=False) as answer:
            status, retry_after = answer.status, answer.headers.get("Retry-After", "")
            answer.close()
        if 200 <= status < 300:
            return "delivered", "", 0.0
        if status == 410:
            # The specification: the receiver wants no more of them.
            self._gone = True
            return "refused", "HTTP status 410: nothing more is sent there until a restart", 0.0
        return "again", f"HTTP status {status}", float(retry_after) if retry_after.isdecimal() else 0.0


def _may_be_public(host: str) -> bool:
    """A name may: its addresses are looked at when it is resolved. Systems take `127.1` and `0x7f000001` for none."""
    last = host.rstrip(".").rpartition(".")[2].lower()
    if not (":" in host or last.isdigit() or last.startswith("0x")):
        return True
    try:
        return may_reach(host)
    except ValueError:
        return False


def _why(exc: BaseException) -> str:
    """Without the address, which may hold a secret and is in the texts of some errors."""
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else ""
    return f"{type(exc).__name__}{f': {reason}' if reason else ''}"


def _make_session(settings: WebhookSettings) -> aiohttp.ClientSession:
    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Resolver(AbstractResolver):
        """Addresses that may be reached; a name with any other one is refused whole."""

        def __init__(self) -> None:
            self._real = aiohttp.ThreadedResolver()

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            found = await self._real.resolve(host, port, family)
            if not settings.private and not all(may_reach(one["host"]) for one in found):
                raise OSError(None, "the name leads into a private network; alert_webhook_private allows it")
            return found

        async def close(self) -> None:
            await self._real.close()

    # No connection is kept: there are minutes between two alerts, and each is checked anew.
    connector = aiohttp.TCPConnector(resolver=Resolver(), use_dns_cache=False, force_close=True)
    timeout = aiohttp.ClientTimeout(total=settings.timeout_s)
    jar = aiohttp.DummyCookieJar()
    return aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False, cookie_jar=jar)
