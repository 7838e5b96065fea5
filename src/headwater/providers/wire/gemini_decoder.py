"""The sans-IO decoder of Gemini's `streamGenerateContent`: body bytes in, canonical events out.

The protocol has no end mark, and a finish reason is none: usage may follow it in a frame of its own, and some models
and gateways put `STOP` on every frame. So `Usage` and `Done` are told when the body ends (`close`), and the answer is
whole if every candidate seen ended with a finish reason, or the prompt was blocked; text after a finish reason takes it
back. It must not know of HTTP or of sockets.

Parts that are no text, thought or call (code that Google ran and its result, images, files) are metadata under
their own names: they are kept, and do not break the stream.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ...errors import ProviderProtocolError, ProviderRejected, ProviderTruncated
from ...events import Done, Event, FinishReason, JsonObject, Metadata, Reasoning, Text, ToolCall
from .gemini_body import Body
from .gemini_errors import gemini_rejection_in_band
from .gemini_shapes import (
    FAULTS,
    FINISH,
    PLAIN,
    Candidate,
    Chunk,
    Feedback,
    FirstChunk,
    Function,
    Logprobs,
    Part,
    decode_chunk,
    decode_first_chunk,
    raw_value,
    usage_of,
)
from .lenient import decode_lenient, excerpt
from .rejections import is_error_object

# Says whose signature it is, because a conversation may go on at another provider, which refuses what is not its own.
SIGNATURE_MARK = "gemini:"
_OTHER_PARTS = ("executable_code", "code_execution_result", "inline_data", "file_data")
_DONE = b"[DONE]"


class GeminiDecoder:
    """See `ports.Decoder`. Understands the SSE stream and the whole answer as a JSON object or array.

    A signature is told as `Reasoning` without text, before the call or after the text that it belongs to.
    """

    __slots__ = ("_blocked", "_body", "_calls", "_decode", "_ended", "_reasons", "_secret", "_usage", "pending")

    def __init__(self, *, secret: str = "") -> None:
        self.pending: list[Event] = []
        self._secret = secret
        self._body = Body()
        self._decode: Callable[[bytes], Chunk] = decode_first_chunk
        self._reasons: dict[int, FinishReason | None] = {}
        self._calls: dict[int, int] = {}
        self._usage = b""
        self._blocked = False
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        if self._ended:
            return []
        for payload in self._body.feed(data):
            self._payload(payload)
        return self._take()

    def close(self) -> list[Event]:
        if self._ended:
            return []
        for payload in self._body.close():
            self._payload(payload)
        reasons = self._settled()
        usage = usage_of(self._usage)
        if usage is not None:
            self.pending.append(usage)
        self.pending.append(Done(reasons[0], reasons if len(reasons) > 1 else None))
        self._ended = True
        return self._take()

    def _take(self) -> list[Event]:
        events = self.pending
        if events:
            self.pending = []
        return events

    def _settled(self) -> list[FinishReason]:
        """How each candidate ended. Raises `ProviderTruncated`, or the error that came instead of the rest."""
        unfinished: FinishReason | None = "content_filter" if self._blocked else None
        reasons = [reason or unfinished for _, reason in sorted(self._reasons.items())] or [unfinished]
        told = [reason for reason in reasons if reason is not None]
        if len(told) == len(reasons):
            return told
        stray = self._body.stray()
        if is_error_object(stray):
            raise gemini_rejection_in_band(stray, secret=self._secret)
        raise ProviderTruncated("the provider's answer ended before it was finished")

    def _payload(self, payload: bytes) -> None:
        try:
            chunk = self._decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if payload.strip() in (b"", _DONE):  # gateways add OpenAI's end mark
                return
            chunk = self._salvage(payload)
        if type(chunk) is FirstChunk:
            self._first(chunk)
        if chunk.candidates:
            for candidate in chunk.candidates:
                self._candidate(candidate)
        usage = bytes(chunk.usage_metadata)
        if usage:
            self._usage = usage
        feedback = chunk.prompt_feedback
        if feedback is not None:
            self._feedback(feedback)
        if chunk.error or (chunk.candidates is msgspec.UNSET and not usage and feedback is None):
            self._refused(payload)

    def _salvage(self, payload: bytes) -> Chunk:
        """A payload that the strict decoder refused."""
        value = decode_lenient(payload)
        if is_error_object(value):
            raise gemini_rejection_in_band(value, secret=self._secret)
        try:
            return self._decode(msgspec.json.encode(value))
        except msgspec.DecodeError as exc:
            raise ProviderProtocolError(f"the provider sent what is no chunk ({exc}): {excerpt(payload)}") from exc

    def _refused(self, payload: bytes) -> None:
        value = decode_lenient(payload)
        if is_error_object(value):
            raise gemini_rejection_in_band(value, secret=self._secret)
        raise ProviderProtocolError(f"the provider sent JSON that is no chunk: {excerpt(payload)}")

    def _first(self, chunk: FirstChunk) -> None:
        facts: JsonObject = {}
        if chunk.response_id:
            facts["id"] = chunk.response_id
        if chunk.model_version:
            facts["model"] = chunk.model_version
        if facts:
            self.pending.append(Metadata(facts))
            self._decode = decode_chunk

    def _feedback(self, feedback: Feedback) -> None:
        """Ratings alone say nothing; a reason says that there will be no answer."""
        if feedback.block_reason:
            self._blocked = True
            message, ratings = feedback.block_reason_message, feedback.safety_ratings
            self._stopped(feedback.block_reason, message, ratings, {"blocked": "prompt"})

    def _candidate(self, candidate: Candidate) -> None:
        index = candidate.index or 0
        before = len(self.pending)
        content = candidate.content
        if content is not None and content.parts:
            for part in content.parts:
                if part.text is not None and part.thought_signature is None and part.function_call is None:
                    if part.text:
                        self.pending.append(Reasoning(part.text, index) if part.thought else Text(part.text, index))
                else:
                    self._part(index, part)
        if candidate.logprobs_result is not None:
            self._logprobs(index, candidate.logprobs_result, before)
        if candidate.finish_reason:
            self._finish(index, candidate.finish_reason, candidate)
        elif len(self.pending) > before or index not in self._reasons:
            self._reasons[index] = None
        if candidate.citation_metadata:
            self.pending.append(Metadata({"citation_metadata": candidate.citation_metadata}))
        if candidate.grounding_metadata:
            self.pending.append(Metadata({"grounding_metadata": candidate.grounding_metadata}))

    def _part(self, index: int, part: Part) -> None:
        signature = SIGNATURE_MARK + part.thought_signature if part.thought_signature else ""
        if part.thought and part.text:
            self.pending.append(Reasoning(part.text, index, signature))
            signature = ""
        elif part.text:
            self.pending.append(Text(part.text, index))
        if signature:
            self.pending.append(Reasoning("", index, signature))
        if part.function_call is not None:
            self._call(index, part.function_call)
        for name in _OTHER_PARTS:
            value = getattr(part, name)
            if value is not None:
                self.pending.append(Metadata({name: value}))

    def _call(self, index: int, call: Function) -> None:
        position = self._calls.get(index, 0)
        self._calls[index] = position + 1
        arguments = msgspec.json.encode(call.args or {}).decode()
        id = call.id or f"call_{index}_{position}"
        self.pending.append(ToolCall(position, id=id, name=call.name, arguments=arguments, choice=index))

    def _logprobs(self, index: int, logprobs: Logprobs, before: int) -> None:
        """With the text of the same chunk, which begins at `before`, where that ends in text."""
        told = logprobs.as_openai()
        last = self.pending[-1] if len(self.pending) > before else None
        if type(last) is Text:
            self.pending[-1] = Text(last.text, index, logprobs=told)
        else:
            self.pending.append(Text("", index, logprobs=told))

    def _finish(self, index: int, reason: str, candidate: Candidate) -> None:
        if reason in FAULTS:
            raise self._fault(reason, candidate.finish_message)
        if reason not in PLAIN:
            facts: JsonObject = {"choice": index} if index else {}
            self._stopped(reason, candidate.finish_message, candidate.safety_ratings, facts)
        canonical = FINISH.get(reason, "stop")
        self._reasons[index] = "tool_calls" if canonical == "stop" and self._calls.get(index) else canonical

    def _stopped(self, reason: str, message: str | None, ratings: msgspec.Raw, facts: JsonObject) -> None:
        """Why, in the provider's own words."""
        facts["finish_reason"] = reason
        if message:
            facts["finish_message"] = message
        rated = raw_value(ratings)
        if rated:
            facts["safety_ratings"] = rated
        self.pending.append(Metadata(facts))

    def _fault(self, reason: str, message: str | None) -> ProviderRejected:
        """A finish that leaves no answer to use, for example a call that cannot be read."""
        text = f"the model stopped with {reason}: {message}" if message else f"the model stopped with {reason}"
        value = {"code": FAULTS[reason], "message": text}
        error = gemini_rejection_in_band(value, secret=self._secret)
        error.upstream_code = reason
        return error
