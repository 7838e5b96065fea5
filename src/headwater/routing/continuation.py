"""What a stream holds of an answer that broke off, and whether another generation may go on with it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError
from ..events import Event, JsonObject, Metadata, Reasoning, Status, Text, ToolCall
from ..providers.ports import Continuation, Held, SupportsContinuation
from ..request import ChatRequest
from .target import Target

SEAM_STAGE = "continuing"
EXACT = "exact"
"""In a seam's data, and true: the same generation goes on."""

_ANEW = frozenset({"retrying", "fallback", SEAM_STAGE})


def held_of(events: Sequence[Event], *, position: int | None, interrupted: bool = False) -> Held:
    """Text alone can be gone on with: no model can be made to resume a thought, a tool call or a second choice."""
    texts = [event for event in events if type(event) is Text]
    others = any(type(event) in (Reasoning, ToolCall) for event in events)
    plain = not any(text.choice or text.refusal for text in texts)
    return Held(
        "".join(text.text for text in texts if not text.choice),
        facts_of(events),
        position=position,
        resumable=plain and not others,
        interrupted=interrupted,
    )


def facts_of(events: Sequence[Event]) -> JsonObject:
    """What the newest generation has told of itself.

    An earlier one's must not be gone on with: what it says after so many characters is no sequel to another's text.
    """
    facts: JsonObject = {}
    for event in events:
        if type(event) is Metadata:
            facts |= event.data
        elif type(event) is Status and event.stage in _ANEW and not (event.data or {}).get(EXACT):
            facts = {}
    return facts


def seams_in(events: Sequence[Event]) -> int:
    """How often the stream was gone on with already, whichever process did it."""
    return sum(type(event) is Status and event.stage == SEAM_STAGE for event in events)


def may_resume(request: ChatRequest) -> bool:
    """Not where a form was asked for, which two halves would break, nor for several choices."""
    form = request.params.get("response_format")
    kind = form.get("type", "text") if isinstance(form, dict) else "text"
    forced = request.params.get("tool_choice") not in (None, "auto", "none")
    return kind == "text" and not forced and request.params.get("n") in (None, 1)


def continuation_at(target: Target, request: ChatRequest, held: Held, *, opted_in: bool) -> Continuation | None:
    """How `target` goes on, if it can and may. The same generation needs no consent: it is what was asked for."""
    if not isinstance(target.provider, SupportsContinuation):
        return None
    try:
        found = target.provider.continuation(request, target.model, held)
    except InputError:
        # Right for the target that gave the first part, not for this one.
        return None
    if found is None or found.exact:
        return found
    return found if opted_in and may_resume(request) else None
