"""The pieces of the event path, one by one, in this process: medians of timeit in µs.

`path, …` is a hub with everything but HTTP: producers write one event at a time, each event is committed and encoded
for one viewer whose sink forgets it; the loop's own turn a write is included.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from statistics import median

import uvloop

from headwater.dialects import DIALECTS
from headwater.dialects.base import EncodeOptions
from headwater.events import Done, StreamId, Text, decode_event, decode_segment, encode_event, encode_segment
from headwater.logs import open_log
from headwater.providers.wire.anthropic_decoder import AnthropicDecoder
from headwater.providers.wire.gemini_decoder import GeminiDecoder
from headwater.providers.wire.openai_decoder import OpenAIDecoder
from headwater.providers.wire.responses_decoder import ResponsesDecoder
from headwater.sse import DataParser, Parser
from headwater.streams import Channel, Hub, NewStream
from headwater.streams.fold import Fold
from headwater.streams.log import StreamRecord
from headwater.streams.merge import merge
from headwater.streams.ports import Writer

from .workload import ROLE_FRAME, TOKEN_FRAME

REPEATS = 7
ANTHROPIC_FRAME = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":" river"}}\n\n'
)
GEMINI_FRAME = (
    b'data: {"candidates": [{"content": {"parts": [{"text": " river"}],"role": "model"},"index": 0}],'
    b'"usageMetadata": {"promptTokenCount": 11,"candidatesTokenCount": 57,"totalTokenCount": 68,'
    b'"promptTokensDetails": [{"modality": "TEXT","tokenCount": 11}]},'
    b'"modelVersion": "gemini-3-flash","responseId": "aZ3KaP-vH5uxkdUP4Pu0gAo"}\r\n\r\n'
)
RESPONSES_FRAME = (
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":57,'
    b'"item_id":"msg_67ccd2bf17f0819081ff3bb2cf6508e60bb6a6b452d3795b","output_index":0,"content_index":0,'
    b'"delta":" river","logprobs":[],"obfuscation":"Kq3vXb8LmT"}\n\n'
)
STREAMS = 100
EVENTS = 100
TEXT = Text(" river")
SEGMENT = [TEXT] * 5
ANSWER = [TEXT] * 10_000


def time_us(call: Callable[[], object], *, number: int = 2000, events: int = 1) -> float:
    """Median µs an event of a call that handles `events` of them."""
    timer = timeit.Timer(call)
    timer.timeit(number // 10 or 1)
    return median(timer.repeat(REPEATS, number)) / number / events * 1e6


def pieces() -> dict[str, float]:
    """The pure ones."""
    record = StreamRecord(id=StreamId("0"), created_ms=0, model="bench")
    channel = Channel(record, Fold(), tail_bytes=32_768)
    options = EncodeOptions(include_usage=True)
    native = DIALECTS["events"].encoder(options)(channel)
    chat = DIALECTS["openai_chat"].encoder(options)(channel)
    ai_chat = DIALECTS["ai_chat"].encoder(options)(channel)
    streaming = DIALECTS["streaming"].encoder(options)(channel)
    workspace = DIALECTS["workspace"].encoder(options)(channel)
    typed = DIALECTS["typed"].encoder(options)(channel)
    decoder = OpenAIDecoder()
    decoder.feed(ROLE_FRAME)
    anthropic, gemini, responses = AnthropicDecoder(), GeminiDecoder(), ResponsesDecoder()
    data_parser, parser = DataParser(), Parser()
    stored, stored_segment = encode_event(TEXT), encode_segment(SEGMENT)
    return {
        "SSE frame to payload (DataParser)": time_us(lambda: data_parser.feed(TOKEN_FRAME)),
        "SSE frame to message (Parser)": time_us(lambda: parser.feed(TOKEN_FRAME)),
        "OpenAI frame to event, one a read": time_us(lambda: decoder.feed(TOKEN_FRAME)),
        "OpenAI frame to event, five a read": time_us(lambda: decoder.feed(TOKEN_FRAME * 5), events=5),
        "Anthropic frame to event, one a read": time_us(lambda: anthropic.feed(ANTHROPIC_FRAME)),
        "Anthropic frame to event, five a read": time_us(lambda: anthropic.feed(ANTHROPIC_FRAME * 5), events=5),
        "Gemini frame to event, one a read": time_us(lambda: gemini.feed(GEMINI_FRAME)),
        "Gemini frame to event, five a read": time_us(lambda: gemini.feed(GEMINI_FRAME * 5), events=5),
        "Responses frame to event, one a read": time_us(lambda: responses.feed(RESPONSES_FRAME)),
        "Responses frame to event, five a read": time_us(lambda: responses.feed(RESPONSES_FRAME * 5), events=5),
        "event to JSON": time_us(lambda: encode_event(TEXT)),
        "JSON to event": time_us(lambda: decode_event(stored)),
        "events to segment, one": time_us(lambda: encode_segment(SEGMENT[:1])),
        "events to segment, five": time_us(lambda: encode_segment(SEGMENT), events=5),
        "segment to events, five": time_us(lambda: decode_segment(stored_segment), events=5),
        "event to frame, events": time_us(lambda: native.encode(57, TEXT)),
        "event to frame, openai_chat": time_us(lambda: chat.encode(57, TEXT)),
        "event to frame, ai_chat": time_us(lambda: ai_chat.encode(57, TEXT)),
        "event to frame, streaming": time_us(lambda: streaming.encode(57, TEXT)),
        "event to frame, workspace": time_us(lambda: workspace.encode(57, TEXT)),
        "event to frame, typed": time_us(lambda: typed.encode(57, TEXT)),
        "merge of 10,000": time_us(lambda: list(merge(ANSWER, 1)), number=10, events=len(ANSWER)),
    }


class Forget:
    """A sink that is always ready and keeps nothing."""

    writable = True

    def write(self, data: bytes) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...
    def bind(self, on_writable: Callable[[], None]) -> None: ...


class Ticker:
    """A producer that writes one event each turn of the loop."""

    async def run(self, writer: Writer) -> None:
        for _ in range(EVENTS):
            writer.write([TEXT])
            await asyncio.sleep(0)
        writer.write([Done("stop")])


async def path_us(kind: str, directory: Path) -> float:
    """CPU µs an event, all threads, of `STREAMS` streams at once on the log `kind`."""
    log = await open_log(kind, directory / kind, "commit")
    hub = Hub(log)
    await hub.start()
    encoder = DIALECTS["openai_chat"].encoder(EncodeOptions())
    start = time.process_time()
    channels = []
    for _ in range(STREAMS):
        channel = (await hub.create(NewStream(model="bench"), Ticker())).channel
        hub.attach(channel, encoder, Forget())
        channels.append(channel)
    for channel in channels:
        await channel.wait_end()
    spent_s = time.process_time() - start
    await hub.shutdown()
    await log.close()
    return spent_s / STREAMS / EVENTS * 1e6


def paths() -> dict[str, float]:
    """The whole path on each embedded log."""
    found = {}
    for kind in ("memory", "sqlite"):
        with tempfile.TemporaryDirectory(prefix="headwater-bench-") as name:
            directory = Path(name)
            runs = [uvloop.run(path_us(kind, directory / str(number))) for number in range(3)]
        found[f"path, {kind} log, {STREAMS} streams"] = median(runs)
    return found


def main() -> None:
    """Print the pieces, as JSON when asked."""
    found = pieces() | paths()
    if "--json" in sys.argv[1:]:
        print(json.dumps(found))
        return
    for name, us in found.items():
        print(f"{name:<40}{us:8.2f} µs")


if __name__ == "__main__":
    main()
