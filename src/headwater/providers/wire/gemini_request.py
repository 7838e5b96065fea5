"""The parameters of a canonical request as fields of a `GenerateContentRequest`.

OpenAI's names are translated. Gemini's own fields go through under these names: `safety_settings`, `cached_content`,
`thinking_config`, and `generation_config` for whatever else stands in it (response modalities, media resolution …);
their insides are Google's (camelCase), and a named parameter wins over the same field inside. An image's `detail` is a
hint about cost that Gemini has no equal for, and is left out. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ...errors import InputError, UnsupportedField
from ...events import JsonObject
from ...request import ChatRequest
from .conversation import Fields, Tool, ToolChoice
from .gemini_contents import PROVIDER

_VERSION = re.compile(r"gemini-(?:(\d{1,3})(?:\.(\d{1,3}))?)?", re.ASCII)
_NO_GEMINI, _NEWEST = (0, 0), (999, 0)
_FIRST_THINKING, _FIRST_LEVELS = (2, 5), (3, 0)
# What Google's own OpenAI-compatible endpoint makes of `reasoning_effort`
# (https://ai.google.dev/gemini-api/docs/openai#thinking).
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH"}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}
_SAMPLING: dict[str, tuple[str, Callable[[Fields, str], object]]] = {
    "temperature": ("temperature", Fields.number),
    "top_p": ("topP", Fields.number),
    "top_k": ("topK", Fields.integer),
    "seed": ("seed", Fields.integer),
    "presence_penalty": ("presencePenalty", Fields.number),
    "frequency_penalty": ("frequencyPenalty", Fields.number),
    "n": ("candidateCount", Fields.integer),
    "logprobs": ("responseLogprobs", Fields.flag),
    "top_logprobs": ("logprobs", Fields.integer),
}


def version_of(model: str) -> tuple[int, int]:
    """`gemini-2.5-pro` → (2, 5). An alias without a number is the newest; what is no Gemini is (0, 0)."""
    match = _VERSION.match(model)
    if match is None:
        return _NO_GEMINI
    return (int(match[1]), int(match[2] or 0)) if match[1] else _NEWEST


def gemini_fields(request: ChatRequest, model: str) -> JsonObject:
    """Everything of the body but the conversation. Raises `InputError` and `UnsupportedField`."""
    fields = Fields(request, PROVIDER)
    body: JsonObject = {}
    config = _object(fields, "generation_config")
    for name, (own, read) in _SAMPLING.items():
        value = read(fields, name)
        if value is not None:
            config[own] = value
    limit, stop = fields.max_tokens(), fields.stop()
    if limit is not None:
        config["maxOutputTokens"] = limit
    if stop:
        config["stopSequences"] = stop
    config |= _format(fields)
    thinking = _thinking(fields.effort(), model) | _object(fields, "thinking_config")
    if thinking:
        config["thinkingConfig"] = thinking
    if config:
        body["generationConfig"] = config
    body |= _tools(fields.tools(), fields.tool_choice()) | _own(fields)
    fields.finish()
    return body


def _format(fields: Fields) -> JsonObject:
    form = fields.format()
    if form is None:
        return {}
    schema: JsonObject = {} if form.schema is None else {"responseJsonSchema": form.schema}
    return {"responseMimeType": "application/json", **schema}


def _tools(tools: list[Tool], choice: ToolChoice | None) -> JsonObject:
    body: JsonObject = {}
    if tools:
        body["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in tools]}]
    mode = _MODES[choice.mode] if choice is not None else "AUTO"
    if mode == "AUTO" and any(tool.strict for tool in tools):
        mode = "VALIDATED"  # AUTO does not promise that calls keep to their schema
    config: JsonObject = {"mode": mode}
    if choice is not None and choice.mode == "tool":
        config["allowedFunctionNames"] = [choice.name]
    if mode != "AUTO":
        body["toolConfig"] = {"functionCallingConfig": config}
    return body


def _declaration(tool: Tool) -> JsonObject:
    declaration: JsonObject = {"name": tool.name}
    if tool.description:
        declaration["description"] = tool.description
    if tool.parameters:
        declaration["parametersJsonSchema"] = tool.parameters
    return declaration


def _thinking(effort: str | None, model: str) -> JsonObject:
    """Levels since Gemini 3, a budget in tokens for 2.5; an older model refuses both. Thoughts are asked for, too."""
    if effort is None:
        return {}
    version, pro = version_of(model), "pro" in model.split("-")
    if effort == "none":
        if _NO_GEMINI < version < _FIRST_THINKING:
            return {}
        if version >= _FIRST_LEVELS or pro:
            raise UnsupportedField("reasoning_effort: this model always thinks", param="reasoning_effort")
    if version < _FIRST_THINKING:
        raise UnsupportedField("reasoning_effort: this model knows no degrees of thinking", param="reasoning_effort")
    thoughts: JsonObject = {} if effort == "none" else {"includeThoughts": True}
    if version < _FIRST_LEVELS:
        return {"thinkingBudget": _BUDGETS[effort], **thoughts}
    return {"thinkingLevel": "LOW" if effort == "minimal" and pro else _LEVELS[effort], **thoughts}


def _own(fields: Fields) -> JsonObject:
    body: JsonObject = {}
    settings, cached = fields.take("safety_settings"), fields.take("cached_content")
    if settings is not None:
        if not isinstance(settings, list):
            raise InputError("safety_settings: must be a list", param="safety_settings")
        body["safetySettings"] = settings
    if cached is not None:
        if not isinstance(cached, str):
            raise InputError("cached_content: must be a text", param="cached_content")
        body["cachedContent"] = cached
    return body


def _object(fields: Fields, name: str) -> JsonObject:
    value = fields.take(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{name}: must be an object", param=name)
    return dict(value)
