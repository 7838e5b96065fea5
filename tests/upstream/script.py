"""What one answer shall look like: fields, deterministic text, faults."""

from __future__ import annotations

import random
from typing import Any

import msgspec

WORDS = [
    *("river", "stone", "bridge", "harbour", "quiet", "valley", "lantern", "copper", "morning", "orchard", "signal"),
    *("ledger", "window", "silver", "meadow", "engine", "archive", "compass", "granite", "feather"),
    *("naïve", "café", "東京", "поток", "🌊", "🚀"),  # every length of UTF-8, so that cuts fall inside characters
]


class ScriptedCall(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: dict[str, Any] = {}
    id: str = ""


class Script(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How one answer goes.

    Times are milliseconds: `head_delay_ms` before the response head, `first_delay_ms` between the head and the
    first token, `delay_ms` between tokens. `batch` tokens (each its own frame) share one write. `usage=None`
    follows the request's `stream_options`. `reasoning` is a text, sent before the answer word by word. `gated`: each
    write after the head waits for `Upstream.let(key, …)`; with a `delay_ms` a write is a token.
    """

    tokens: int = 24
    text: str | None = None
    seed: int = 0
    delay_ms: float = 0
    first_delay_ms: float = 0
    head_delay_ms: float = 0
    reasoning: str = ""
    refusal: str = ""
    tool_calls: list[ScriptedCall] = []
    n: int | None = None
    usage: bool | None = None
    logprobs: bool = False
    finish_reason: str | None = None
    batch: int = 1
    fault: str = ""
    fault_times: int | None = None
    fault_after: int | None = None
    echo_prefix: bool = False
    gated: bool = False
    key: str = ""

    def pieces(self) -> list[str]:
        """The answer's tokens."""
        if self.text is not None:
            return split_words(self.text)
        rng = random.Random(self.seed)
        words = [rng.choice(WORDS) for _ in range(self.tokens)]
        return [word if i == 0 else (f"\n{word}" if i % 12 == 0 else f" {word}") for i, word in enumerate(words)]

    def answer(self) -> str:
        return "".join(self.pieces())

    def faults(self) -> dict[str, str]:
        """Fault names with their argument: `status:429+retry_after` → {"status": "429", "retry_after": ""}."""
        pairs = (part.partition(":") for part in self.fault.split("+") if part)
        return {name: argument for name, _, argument in pairs}

    def middle(self) -> int:
        """Tokens to send before a fault that strikes in mid-answer."""
        return len(self.pieces()) // 2 if self.fault_after is None else self.fault_after


def split_words(text: str) -> list[str]:
    """Word by word, the blank before its word; adds up to `text`."""
    pieces: list[str] = []
    for part in text.split(" "):
        pieces.append(part if not pieces else f" {part}")
    return [piece for piece in pieces if piece]


def prompt(**fields: Any) -> str:
    """The content of a user message that carries a script. Raises `msgspec.ValidationError` on a wrong field."""
    script = msgspec.convert(fields, Script)
    return msgspec.json.encode({"script": msgspec.to_builtins(script)}).decode()


def script_of(text: str | None, default: Script) -> Script:
    """The script in the last user message, else the default. A damaged script is an error, not a default."""
    if text is None or not text.lstrip().startswith("{"):
        return default
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return default
    if isinstance(found, dict) and "script" in found:
        return msgspec.convert(found["script"], Script)
    return default


def last_user_text(messages: list[dict[str, Any]]) -> str | None:
    """Of messages in OpenAI's shape."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list):
                content = next((part.get("text", "") for part in content if part.get("type") == "text"), "")
            return content if isinstance(content, str) else None
    return None


def going_on(script: Script, messages: object) -> Script:
    """The script for a prompt that ends with the beginning of the answer: what is left of its text after that.

    Models that take a prefix see it as an assistant's last message, however it is marked. Some repeat it
    (`echo_prefix`). A beginning that is not this answer's is followed by all of it.
    """
    last = messages[-1] if isinstance(messages, list) and messages else {}
    content = last.get("content") if last.get("role") == "assistant" and not last.get("tool_calls") else None
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    if not content:
        return script
    rest = script.answer().removeprefix(content)
    return msgspec.structs.replace(script, text=content + rest if script.echo_prefix else rest)


def prompt_tokens(body: dict[str, Any]) -> int:
    """A count that depends on the prompt only."""
    return sum(len(str(message.get("content") or "").split()) + 3 for message in body.get("messages") or [])
