"""The table {canonical event, reset, heartbeat, reconnect} × dialect, as inputs: what each cell encodes.

`python -m tests.conformance.dialects.cells` writes every golden file anew (golden/<dialect>/<cell>.sse); the diff is
then reviewed like code, because clients in the field depend on these bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from headwater.dialects import DIALECTS, EncodeOptions
from headwater.events import (
    Done,
    Error,
    Event,
    Metadata,
    Reasoning,
    Source,
    Sources,
    Start,
    Status,
    StreamId,
    Text,
    ToolCall,
    Usage,
)
from headwater.streams.fold import Fold, fold
from headwater.streams.viewer import farewell

GOLDEN = Path(__file__).parent / "golden"
STREAM = StreamId("0197a5c0-0000-7000-8000-000000000001")


class View(NamedTuple):
    """A `StreamView` of fixed facts."""

    fold: Fold
    id: StreamId = STREAM
    model: str = "small"
    created_ms: int = 1_750_000_000_999
    epoch: int = 1


USAGE = Usage(11, 7, reasoning_tokens=3, cached_tokens=2)
START = Start(STREAM, "small", 1_750_000_000_999, "local")

CELLS: dict[str, Sequence[Event]] = {
    "start": [START],
    "text": [
        Text("Hel"),
        Text('lo "you"\n'),
        Text("No.", refusal=True),
        Text("B", choice=1),
        Text("!", logprobs={"content": [{"token": "!", "logprob": -0.5}]}),
    ],
    "reasoning": [Reasoning("Let me "), Reasoning("see.", choice=1), Reasoning("", signature="proof")],
    "tool_call": [
        ToolCall(0, "call_1", "weather"),
        ToolCall(0, arguments='{"city":'),
        ToolCall(0, arguments='"Ulm"}'),
        ToolCall(1, "call_2", "time", "{}", choice=1),
    ],
    "sources": [Sources([Source("A passage.", id="d1", title="Doc", url="https://example.org/d", score=0.5)])],
    "status": [
        Status("queued", position=3),
        Status("connecting", "Asking the model…", attempt=2, data={"model": "m"}),
    ],
    "usage": [USAGE],
    "metadata": [Metadata({"system_fingerprint": "fp_1"})],
    "done": [Metadata({"system_fingerprint": "fp_1"}), USAGE, Done("stop")],
    "done_priced": [
        USAGE,
        Metadata({"cost": {"amount": 0.00042, "currency": "EUR", "source": "exact"}, "duration_ms": 7.5}),
        Done("stop"),
    ],
    "done_choices": [Usage(11, 7, "estimated"), Done("stop", ["stop", "length"])],
    "done_thought": [Reasoning("Let me "), Reasoning("see."), Text("Hel"), Text("lo"), Reasoning("Hm."), Done("stop")],
    "done_chat": [
        Metadata({"chat_id": 42, "search_mode": "hybrid", "chunks_used": 1}),
        Sources([Source("A passage.", id="d1", title="Doc", score=0.5, metadata={"page": 3})]),
        Text("Hello there!"),
        Metadata({"confidence": 0.75, "hallucination": None, "total_response": "Hello there!"}),
        USAGE,
        Metadata({"first_token_ms": 250.0, "duration_ms": 1500.0}),
        Done("stop"),
    ],
    "done_refused": [Metadata({"refused": True}), Text("Nothing about that here."), Usage(0, 6), Done("stop")],
    "cancelled": [Usage(11, 7, "estimated"), Done("cancelled")],
    "error": [
        Error("provider_rejected", "Slow down.", 429, True, "local", "rate_limit_exceeded", None, 7.0),
        Error("interrupted", "The server stopped while this was being written."),
    ],
}


def encode(dialect: str, events: Sequence[Event], *, first_seq: int = 0, options: EncodeOptions | None = None) -> bytes:
    """Frames of `events` as one viewer gets them."""
    make = DIALECTS[dialect].encoder(options or EncodeOptions(include_usage=True))
    encoder = make(View(fold(events)))
    return b"".join(encoder.encode(seq, event) for seq, event in enumerate(events, first_seq))


def cell(dialect: str, name: str) -> bytes:
    encoder = DIALECTS[dialect].encoder(EncodeOptions())(View(fold([])))
    if name == "reset":
        return encoder.reset("unknown_cursor")
    if name == "heartbeat":
        return encoder.heartbeat
    if name == "reconnect":
        return farewell(encoder, 2_000)
    choices = 2 if name == "done_choices" else 1
    return encode(dialect, CELLS[name], options=EncodeOptions(include_usage=True, choices=choices))


NAMES = (*CELLS, "reset", "heartbeat", "reconnect")


def write_all() -> None:
    for dialect in DIALECTS:
        (GOLDEN / dialect).mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            (GOLDEN / dialect / f"{name}.sse").write_bytes(cell(dialect, name))


if __name__ == "__main__":
    write_all()
