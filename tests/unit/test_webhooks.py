"""Webhooks: the specification's own example, a receiver that fails and recovers, and where they must not go."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web

from headwater import webhooks
from headwater.errors import ConfigError
from headwater.webhooks import MAX_PENDING, Webhook, WebhookSettings, decode_secret, may_reach, signature_of
from tests.unit.streams.kit import eventually

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
KEY = base64.b64decode(SECRET.removeprefix("whsec_"))


class Receiver:
    """Answers with the next of `statuses`, then 200; `going`: is waited for first."""

    def __init__(self, *statuses: int, headers: dict[str, str] | None = None) -> None:
        self.statuses = list(statuses)
        self.headers = headers or {}
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.going = asyncio.Event()
        self.going.set()
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        await self.going.wait()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200, headers=self.headers)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Receiver]:
        app = web.Application()
        app.router.add_post("/hook", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        try:
            yield self
        finally:
            self.going.set()
            await runner.cleanup()


@asynccontextmanager
async def sending(receiver: Receiver, **settings: object) -> AsyncIterator[tuple[Webhook, list[float]]]:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    made = msgspec.structs.replace(WebhookSettings(url=receiver.url, secret=SECRET, private=True), **settings)
    webhook = Webhook(made, pause=pause)
    yield webhook, pauses
    await webhook.close()


def test_the_signature_is_the_specifications() -> None:
    """The example of the reference libraries' tests."""
    body = b'{"test": 2432232314}'
    told = signature_of(
        decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body
    )
    assert told == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_message_is_signed_and_whole() -> None:
    async with Receiver().serving() as receiver, sending(receiver) as (webhook, _):
        webhook.send("alert.began", "2026-01-01T00:00:00.000Z", {"name": "disk"})
        await eventually(lambda: len(receiver.requests) == 1)
    [(headers, body)] = receiver.requests
    assert json.loads(body) == {
        "type": "alert.began",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "data": {"name": "disk"},
    }
    signed = signature_of(KEY, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == signed
    assert (headers["content-type"], "." in headers["webhook-id"]) == ("application/json", False)


async def test_a_receiver_that_fails_is_asked_again_with_the_same_id() -> None:
    async with Receiver(500, 429, headers={"Retry-After": "30"}).serving() as receiver:
        async with sending(receiver) as (webhook, pauses):
            webhook.send("x", "t", {})
            await eventually(lambda: len(receiver.requests) == 3)
        assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
    assert pauses == [30.0, 30.0]


async def test_pauses_grow_and_attempts_end(caplog: pytest.LogCaptureFixture) -> None:
    async with Receiver(*[503] * 10).serving() as receiver, sending(receiver) as (webhook, pauses):
        webhook.send("x", "t", {})
        await eventually(lambda: not webhook._sending)
    assert (pauses, len(receiver.requests)) == ([2.0, 8.0, 32.0, 128.0, 512.0], 6)
    assert caplog.records[-1].getMessage() == "a webhook is not delivered after 6 attempts: HTTP status 503"


async def test_gone_is_gone() -> None:
    async with Receiver(410).serving() as receiver, sending(receiver) as (webhook, pauses):
        webhook.send("x", "t", {})
        await eventually(lambda: not webhook._sending)
        webhook.send("x", "t", {})
        assert not webhook._sending
    assert (len(receiver.requests), pauses) == (1, [])


async def test_a_redirect_is_not_followed() -> None:
    """With 307 the method stays: a client that follows would post there."""
    async with Receiver().serving() as other:
        moved = Receiver(307, headers={"Location": other.url})
        async with moved.serving(), sending(moved, attempts=1) as (webhook, _):
            webhook.send("x", "t", {})
            await eventually(lambda: not webhook._sending)
        assert (len(moved.requests), other.requests) == (1, [])


async def test_nobody_answers(caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver()
    async with receiver.serving():
        pass
    async with sending(receiver, attempts=2) as (webhook, pauses):
        webhook.send("x", "t", {})
        await eventually(lambda: not webhook._sending)
    assert len(pauses) == 1
    assert receiver.url not in caplog.text


async def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    async with Receiver().serving() as receiver:
        receiver.going.clear()
        async with sending(receiver, timeout_s=0.05, attempts=2) as (webhook, pauses):
            webhook.send("x", "t", {})
            await eventually(lambda: not webhook._sending)
        assert len(pauses) == 1


async def test_the_end_waits_a_moment_and_tells_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    async with Receiver().serving() as receiver:
        receiver.going.clear()
        async with sending(receiver) as (webhook, _):
            webhook.send("x", "t", {})
            await eventually(lambda: len(receiver.requests) == 1)
            await webhook.close(grace_s=0.0)
    assert "1 webhooks are not delivered" in caplog.text


async def test_what_waits_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    async with Receiver().serving() as receiver:
        receiver.going.clear()
        async with sending(receiver) as (webhook, _):
            for _ in range(MAX_PENDING + 1):
                webhook.send("x", "t", {})
            assert len(webhook._sending) == MAX_PENDING
            await webhook.close(grace_s=0.0)
    assert "a webhook is dropped" in caplog.text


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.8", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "::",
        "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::a9fe:a9fe", "224.0.0.1",
        "64:ff9b:1::7f00:1", "::ffff:0:127.0.0.1", "::127.0.0.1", "fec0::1",
        "255.255.255.255",
    ],
)  # fmt: skip
def test_addresses_that_only_this_machine_can_reach(address: str) -> None:
    assert not may_reach(address)


def test_public_addresses_may_be_reached() -> None:
    assert all(map(may_reach, ("1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1")))


async def test_a_name_that_leads_inside_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Also one that did not a moment ago: it is looked up for each attempt."""
    async with Receiver().serving() as receiver:
        url = receiver.url.replace("127.0.0.1", "localhost")
        async with sending(receiver, url=url, private=False, attempts=2) as (webhook, pauses):
            with caplog.at_level(logging.WARNING):
                webhook.send("x", "t", {})
                await eventually(lambda: not webhook._sending)
        async with sending(receiver, url=url) as (allowed, _):
            allowed.send("x", "t", {})
            await eventually(lambda: len(receiver.requests) == 1)
    assert (len(pauses), "alert_webhook_private" in caplog.text) == (1, True)


@pytest.mark.parametrize(
    ("url", "secret", "told"),
    [
        ("ftp://example.com", SECRET, "must be http"),
        ("https://", SECRET, "must be http"),
        ("https://ann:pass@example.com", SECRET, "without a user"),
        ("https://[::1", SECRET, "not an address"),
        ("https://example.com:port", SECRET, "not an address"),
        ("https://127.0.0.1/hook", SECRET, "private network"),
        ("https://[::1]/hook", SECRET, "private network"),
        ("https://１２７.0.0.1/hook", SECRET, "private network"),
        ("https://127。0。0。1/hook", SECRET, "private network"),
        ("https://127.1/hook", SECRET, "private network"),
        ("https://2130706433/hook", SECRET, "private network"),
        ("https://0x7f000001/hook", SECRET, "private network"),
        ("https://example.com", "", "the webhook's secret"),
        ("https://example.com", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "the webhook's secret"),
        ("https://example.com", "whsec_not base64!", "the webhook's secret"),
        ("https://example.com", "whsec_" + base64.b64encode(b"short").decode(), "24 to 64 bytes"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_start(url: str, secret: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        Webhook(WebhookSettings(url=url, secret=secret))
    assert "pass" not in caught.value.message.replace("password", "")


def test_an_error_is_told_without_the_address() -> None:
    assert webhooks._why(ValueError("https://hooks.example/secret")) == "ValueError"
