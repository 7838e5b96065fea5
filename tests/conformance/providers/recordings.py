"""The corpus: recorded answers with what providers do in the field, and the events that each must become.

`tests/recordings/NAME.jsonl` is made from documented formats (the header's `note` says which) or kept by `headwater
record`; `NAME.events.json` beside it holds the canonical events, a failure as the `error` event that a viewer gets.
`python -m tests.conformance.providers.recordings` writes every one anew; the diff is then reviewed like code: nothing
of text, reasoning, tool calls and usage may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from headwater.errors import ProviderError, ProviderTruncated
from headwater.events import Error, Event, encode_event
from headwater.providers.ports import WireProtocol
from headwater.providers.recordings import Recording, parse_recording
from headwater.providers.replay import PROTOCOLS

CORPUS = Path(__file__).parents[2] / "recordings"
NAMES = sorted(path.stem for path in CORPUS.glob("*.jsonl"))


def load(name: str) -> Recording:
    return parse_recording((CORPUS / f"{name}.jsonl").read_bytes(), name=name)


def golden(name: str) -> list[Event]:
    return msgspec.json.decode(golden_path(name).read_bytes(), type=list[Event])


def golden_path(name: str) -> Path:
    return CORPUS / f"{name}.events.json"


def body_of(recording: Recording) -> bytes:
    return b"".join(read.data for read in recording.reads)


def events_of(recording: Recording, chunks: Iterable[bytes]) -> list[Event]:
    """What a viewer gets of the answer when its body arrives in these chunks."""
    header = recording.header
    protocol = PROTOCOLS[header.protocol]()
    if not 200 <= header.status < 300:
        return [failure(_refusal(protocol, recording))]
    decoder = protocol.decoder()
    events: list[Event] = []
    try:
        for chunk in chunks:
            events += decoder.feed(chunk)
        if header.cut:
            raise ProviderTruncated("the recording ends with a cut connection")
        events += decoder.close()
    except ProviderError as error:
        events += [*decoder.pending, failure(error)]
    return events


def _refusal(protocol: WireProtocol, recording: Recording) -> ProviderError:
    header = recording.header
    return protocol.error(header.status, {"content-type": header.content_type, **header.headers}, body_of(recording))


def failure(error: ProviderError) -> Error:
    return Error(
        error.code,
        error.message,
        error.http_status,
        error.retryable,
        code=getattr(error, "upstream_code", None) or "",
        param=getattr(error, "param", None),
        retry_after_s=error.retry_after_s,
    )


def encoded(events: Sequence[Event]) -> bytes:
    """One event a line, so that a diff shows events."""
    return b"[\n" + b",\n".join(encode_event(event) for event in events) + b"\n]\n"


def write_all() -> None:
    for name in NAMES:
        recording = load(name)
        golden_path(name).write_bytes(encoded(events_of(recording, [read.data for read in recording.reads])))


if __name__ == "__main__":
    write_all()
