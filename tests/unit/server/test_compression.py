"""The negotiation, each coding by a decoder of its own, and what compressors hold."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from headwater.dialects import DIALECTS, EncodeOptions
from headwater.errors import ConfigError
from headwater.events import Done, Text
from headwater.logs import MemoryLog
from headwater.server.compression import CODINGS, Coding, Compression, CompressionSettings
from headwater.server.responses import EventStreamResponse
from headwater.streams import Channel, Hub, NewStream, StreamSettings, Writer
from tests.integration.kit import eventually

from .asgi import Exchange, http_scope

LONG = "The river rises in the hills. " * 100


def decoder(coding: Coding) -> Callable[[bytes], bytes]:
    """Gives what a piece makes readable, as a client that reads as it comes."""
    if coding == "br":
        return brotli.Decompressor().process  # type: ignore[no-any-return]
    if coding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress
    return zlib.decompressobj(31 if coding == "gzip" else 15).decompress


class Recorded:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ends: list[str] = []
        self.bound: list[Callable[[], None]] = []
        self.writable = True

    def bind(self, on_writable: Callable[[], None]) -> None:
        self.bound.append(on_writable)

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def finish(self) -> None:
        self.ends.append("finish")

    def abort(self) -> None:
        self.ends.append("abort")


def nothing() -> None: ...


@pytest.mark.parametrize("coding", CODINGS)
@given(pieces=st.lists(st.binary(max_size=2000), max_size=20))
def test_what_was_written_is_readable_at_once(coding: Coding, pieces: list[bytes]) -> None:
    inner = Recorded()
    sink = Compression().sink(coding, inner)
    decode = decoder(coding)
    for piece in pieces:
        sink.write(piece)
        assert decode(inner.pieces[-1]) == piece
    sink.finish()
    assert decode(inner.pieces[-1]) == b""
    assert inner.ends == ["finish"]


@pytest.mark.parametrize("level", range(2, 6))
@pytest.mark.parametrize("coding", CODINGS)
def test_every_level_is_of_the_coding(coding: Coding, level: int) -> None:
    settings = CompressionSettings(
        compression_gzip_level=level, compression_zstd_level=min(level, 4), compression_br_level=level
    )
    inner = Recorded()
    sink = Compression(settings).sink(coding, inner)
    sink.write(LONG.encode())
    sink.finish()
    assert decoder(coding)(b"".join(inner.pieces)) == LONG.encode()
    assert sum(map(len, inner.pieces)) < len(LONG) / 10


def test_a_sink_passes_on_what_is_not_written() -> None:
    inner = Recorded()
    sink = Compression().sink("gzip", inner)
    sink.bind(nothing)
    assert inner.bound == [nothing]
    for writable in (True, False):
        inner.writable = writable
        assert sink.writable is writable
    sink.abort()
    assert (inner.ends, inner.pieces) == (["abort"], [])


def test_what_a_compressor_holds_is_counted_until_its_viewer_is_gone() -> None:
    compression = Compression()
    first, second = compression.sink("gzip", Recorded()), compression.sink("br", Recorded())
    held = compression.held_bytes
    first.bind(nothing)
    second.bind(nothing)
    assert compression.held_bytes == held > 2 * 16_384
    first.bind(nothing)  # the viewer is gone
    assert compression.held_bytes == held - 16_384
    first.bind(nothing)
    assert compression.held_bytes == held - 16_384
    second.bind(nothing)
    assert compression.held_bytes == 0


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(ConfigError, match="compression_except: unknown dialect 'nope'"):
        Compression(CompressionSettings(compression_except=("events", "nope")))


# ---------------------------------------------------------------------- as a response


class Said:
    """A model that says `text` and is done, or goes on for ever after it."""

    def __init__(self, text: str, *, done: bool = True) -> None:
        self.text = text
        self.done = done

    async def run(self, writer: Writer) -> None:
        writer.write([Text(self.text)])
        if not self.done:
            await asyncio.Event().wait()
        writer.write([Done("stop")])


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub(MemoryLog(), StreamSettings(grace_s=0.0, max_connections=2))
    await hub.start()
    yield hub
    await hub.shutdown()
    await hub.log.close()


async def ask(
    hub: Hub,
    accepts: str | None = "gzip",
    settings: CompressionSettings | None = CompressionSettings(),  # noqa: B008 - frozen
    *,
    channel: Channel | None = None,
    compression: Compression | None = None,
    method: str = "GET",
    cursor: str | None = None,
    **new: str,
) -> Exchange:
    if channel is None:
        channel = (await hub.create(NewStream(model="m"), Said(new.get("text", LONG)))).channel
    if settings is not None and compression is None:
        compression = Compression(settings)
    encoder = DIALECTS["events"].encoder(EncodeOptions())
    made = EventStreamResponse(hub, channel, encoder, dialect="events", compression=compression, cursor=cursor)
    exchange = Exchange(http_scope(method=method, headers={} if accepts is None else {"Accept-Encoding": accepts}))
    await exchange.run(made)
    return exchange


async def whole(hub: Hub, text: str) -> Channel:
    """An answer that has ended."""
    channel = (await hub.create(NewStream(model="m"), Said(text))).channel
    await eventually(lambda: channel.terminal is not None)
    return channel


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_client_gets_the_coding_that_it_takes(hub: Hub, coding: Coding) -> None:
    exchange = await ask(hub, coding)
    plain = await ask(hub, "identity")
    assert exchange.headers["content-encoding"] == coding
    assert exchange.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert exchange.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert b"The river" in decoder(coding)(exchange.body)
    assert len(exchange.body) < len(plain.body) / 5
    assert exchange.complete


@pytest.mark.parametrize("accepts", [None, "", "identity", "gzip;q=0, *;q=0"])
async def test_who_takes_none_gets_plain_frames(hub: Hub, accepts: str | None) -> None:
    exchange = await ask(hub, accepts)
    assert "content-encoding" not in exchange.headers
    assert exchange.headers["vary"] == "Accept-Encoding"
    assert b"The river" in exchange.body


@pytest.mark.parametrize(
    ("settings", "vary"),
    [
        (CompressionSettings(compression=()), False),
        (CompressionSettings(compression=("br",)), True),
        (CompressionSettings(compression_except=("events",)), True),
        (CompressionSettings(compression_max_memory_bytes=10_000), True),
        (None, False),
    ],
)
async def test_settings_turn_it_off(hub: Hub, settings: CompressionSettings | None, vary: bool) -> None:
    exchange = await ask(hub, "gzip, deflate", settings)
    assert "content-encoding" not in exchange.headers
    assert ("vary" in exchange.headers) == vary
    assert b"The river" in exchange.body


async def test_the_next_coding_is_taken_where_the_first_has_no_room(hub: Hub) -> None:
    exchange = await ask(hub, "br, gzip;q=0.5", CompressionSettings(compression_max_memory_bytes=100_000))
    assert exchange.headers["content-encoding"] == "gzip"


async def test_a_short_answer_that_has_ended_is_sent_as_it_is(hub: Hub) -> None:
    short, long = await whole(hub, "no"), await whole(hub, LONG)
    assert "content-encoding" not in (await ask(hub, channel=short)).headers
    assert (await ask(hub, channel=long)).headers["content-encoding"] == "gzip"
    anyway = CompressionSettings(compression_min_bytes=0)
    assert (await ask(hub, settings=anyway, channel=short)).headers["content-encoding"] == "gzip"


async def test_an_answer_whose_length_is_not_known_is_compressed(hub: Hub) -> None:
    channel = await whole(hub, "no")
    channel.has_whole_fold = False
    assert (await ask(hub, channel=channel)).headers["content-encoding"] == "gzip"


async def test_nothing_is_held_after_the_end_or_a_head_or_a_cut(hub: Hub) -> None:
    compression = Compression()
    await ask(hub, compression=compression)
    assert (await ask(hub, compression=compression, method="HEAD")).headers["content-encoding"] == "gzip"
    assert compression.held_bytes == 0
    channel = (await hub.create(NewStream(model="m"), Said(LONG, done=False))).channel
    watching = asyncio.create_task(ask(hub, compression=compression, channel=channel))
    await eventually(lambda: compression.held_bytes > 0)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert compression.held_bytes == 0


async def test_who_is_sent_away_is_told_in_plain_words(hub: Hub) -> None:
    compression = Compression()
    channel = (await hub.create(NewStream(model="m"), Said(LONG, done=False))).channel
    watching = [asyncio.create_task(ask(hub, compression=compression, channel=channel)) for _ in range(2)]
    await eventually(lambda: hub.viewers == 2)
    held = compression.held_bytes
    exchange = await ask(hub, compression=compression, channel=channel, cursor=f"{channel.epoch}.0")
    assert "content-encoding" not in exchange.headers
    assert b"retry:" in exchange.body
    assert compression.held_bytes == held == 2 * 16_384
    for task in watching:
        task.cancel()
    await asyncio.wait(watching)
