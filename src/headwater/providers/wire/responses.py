"""OpenAI's Responses API as an upstream: `POST /responses` with SSE, and answers that go on without us.

Pure. Parameters arrive under their names in chat completions and are translated; what this API lacks (`n`, `stop`,
`seed`, penalties, `logit_bias`, audio) is an `UnsupportedField`. Its own parameters `background`, `include`,
`max_tool_calls`, `previous_response_id`, `prompt`, `reasoning` and `truncation`, and its own tools, go through.

- *Thinking* is hidden unless asked for. `reasoning_effort` asks for a summary of it, too (`reasoning.summary: auto`);
  OpenAI gives summaries to verified organizations only, so `reasoning` as a parameter goes through as it is and wins:
  `{"effort": "high", "summary": null}` thinks hard without a summary.
- *Tool loops.* What the model thought before it called a tool comes encrypted, by default, and is told as a signature
  (`reasoning_signature` of the message). A caller that sends it back with the tool's answer lets the model think on;
  without it, it begins anew, as in chat completions. It is for the account that made it: that another one's key can
  go on with it is not to be expected.
- *Storage.* `store` is false unless the caller says otherwise or asks for `background`, which cannot do without.
- *Background.* Such a response is generated to its end whoever listens. Its facts hold `response_id` and `background`,
  by which `reattach` finds it again and `cancel_request` stops it. OpenAI streams it for a few minutes only (its error
  is a 400 then). Other responses end with their connection.

See https://platform.openai.com/docs/api-reference/responses and https://platform.openai.com/docs/guides/background.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

import msgspec

from ..._version import __version__
from ...errors import InputError, ProviderError
from ...events import JsonObject
from ...request import ChatRequest
from ..ports import Decoder, Held, UpstreamRequest
from .conversation import Fields
from .openai_chat import OPENAI_BASE_URL, OpenAIChat, checked_base_url
from .rejections import rejection
from .responses_decoder import ResponsesDecoder
from .responses_input import NAME, flat_tool, input_items, text_config, tools_apart

# Same name, same meaning, and no influence on whether this API can answer.
_UNCHANGED = (
    *("metadata", "service_tier", "safety_identifier", "user", "prompt_cache_key", "prompt_cache_retention"),
    *("max_tool_calls", "previous_response_id", "prompt", "truncation"),
)
_LOGPROBS = "message.output_text.logprobs"


class Responses:
    """The `WireProtocol`, with `SupportsReattach`. Arguments are those of `OpenAIChat`."""

    name = "openai_responses"

    def __init__(
        self,
        base_url: str = OPENAI_BASE_URL,
        *,
        api_key: str = "",
        headers: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._base_url = checked_base_url(base_url)
        self._api_key = api_key
        self._now = now
        self._headers = {"user-agent": f"headwater/{__version__}", **(headers or {})}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        # Both APIs of a server have one list of models.
        self._models = OpenAIChat(base_url, api_key=api_key, headers=headers, now=now)

    def chat(self, request: ChatRequest, model: str) -> UpstreamRequest:
        body: JsonObject = {"model": model, "input": input_items(request.messages), "stream": True}
        body |= _translated(request)
        headers = {**self._headers, "accept": "text/event-stream", "content-type": "application/json"}
        return UpstreamRequest("POST", f"{self._base_url}/responses", headers, msgspec.json.encode(body))

    def decoder(self) -> ResponsesDecoder:
        return ResponsesDecoder(secret=self._api_key)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return rejection(status, headers, body, secret=self._api_key, now_s=self._now())

    def list_models(self) -> UpstreamRequest:
        return self._models.list_models()

    def parse_models(self, body: bytes) -> list[str]:
        return self._models.parse_models(body)

    def reattach(self, held: Held) -> tuple[UpstreamRequest, Decoder] | None:
        """None for a response that is not of the background, or of which nobody can tell what the stream holds.

        A stream of text alone is followed from its position (or, after a crash, from the start without that text); one
        with tool calls or thinking from the start up to its position in silence, because their parts are only
        understood from their beginning.
        """
        url = self._background_url(held.facts)
        if url is None or (held.position is None and not held.resumable):
            return None
        query = f"&starting_after={held.position}" if held.resumable and held.position is not None else ""
        headers = {**self._headers, "accept": "text/event-stream"}
        request = UpstreamRequest("GET", f"{url}?stream=true{query}", headers)
        return request, ResponsesDecoder(secret=self._api_key, held=held)

    def cancel_request(self, facts: JsonObject) -> UpstreamRequest | None:
        """What stops a background response, which would go on without its connection; None for any other answer."""
        url = self._background_url(facts)
        headers = {**self._headers, "accept": "application/json"}
        return UpstreamRequest("POST", f"{url}/cancel", headers) if url is not None else None

    def _background_url(self, facts: JsonObject) -> str | None:
        """The address of the background response that the latest facts are of (another attempt replaces `id`)."""
        id = facts.get("response_id")
        if facts.get("background") is not True or not isinstance(id, str) or facts.get("id") != id:
            return None
        return f"{self._base_url}/responses/{quote(id, safe='')}"


def _translated(request: ChatRequest) -> JsonObject:
    """The body's fields that follow from the caller's parameters. Null means not given."""
    request, own_tools = tools_apart(request)
    params = request.params
    fields = Fields(request, NAME)
    for name in _UNCHANGED:
        fields.take(name)
    background, store = fields.flag("background"), params.get("store")
    given: JsonObject = {
        **{name: params.get(name) for name in _UNCHANGED},
        "background": background,
        "store": bool(background) if store is None else store,
        "temperature": fields.number("temperature"),
        "top_p": fields.number("top_p"),
        "max_output_tokens": fields.max_tokens(),
        "parallel_tool_calls": fields.flag("parallel_tool_calls"),
        "include": _include(fields),
        "top_logprobs": fields.integer("top_logprobs"),
        "reasoning": _reasoning(fields),
        "text": text_config(fields, request) or None,
        "tools": [*map(flat_tool, fields.tools()), *own_tools] or None,
        "tool_choice": _tool_choice(fields),
        "stream_options": _stream_options(params),
    }
    fields.finish()
    return {name: value for name, value in given.items() if value is not None}


def _include(fields: Fields) -> list[object] | None:
    include = fields.take("include") or []
    if not isinstance(include, list):
        raise InputError("include: must be a list", param="include")
    wanted = [_LOGPROBS] if fields.flag("logprobs") else []
    return [*include, *(name for name in wanted if name not in include)] or None


def _reasoning(fields: Fields) -> JsonObject | None:
    effort, own = fields.effort(), fields.take("reasoning")
    if own is not None and not isinstance(own, dict):
        raise InputError("reasoning: must be an object", param="reasoning")
    if own is not None:
        return {"effort": effort, **own} if effort is not None else own
    if effort is None:
        return None
    return {"effort": effort, "summary": "auto"} if effort != "none" else {"effort": effort}


def _tool_choice(fields: Fields) -> object:
    choice = fields.tool_choice()
    if choice is None or choice.mode != "tool":
        return choice and choice.mode
    return {"type": "function", "name": choice.name}


def _stream_options(params: JsonObject) -> JsonObject | None:
    """Only whether pieces are padded; usage is always told."""
    options = params.get("stream_options")
    padded = options.get("include_obfuscation") if isinstance(options, dict) else None
    return {"include_obfuscation": padded} if padded is not None else None
