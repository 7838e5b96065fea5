"""OpenAI-named parameters as the fields of Anthropic's request.

What one generation of models refuses is refused here by name, so that a route can go on to another provider or leave
the field out; what only the API can know comes back as its 400. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import InputError, UnsupportedField
from ...events import JsonObject
from ...request import ChatRequest
from .anthropic_models import Abilities, abilities
from .conversation import Fields, Tool, ToolChoice

_PROVIDER = "Anthropic"
# Tokens to think with where a model wants a budget. The API takes no less than the first.
_MIN_BUDGET_TOKENS = 1_024
_BUDGETS_TOKENS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 24_576, "max": 32_768}
# The API's own names of effort; the next lower one where a model has no equal.
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_LATER_EFFORTS = frozenset({"xhigh", "max"})
_SUMMARIZED: JsonObject = {"type": "adaptive", "display": "summarized"}
_MIN_TOP_P_THINKING = 0.95
_MAX_USER_CHARACTERS = 256


def anthropic_params(request: ChatRequest, model: str, *, max_tokens: int) -> JsonObject:
    """All fields but `model`, `messages`, `system` and `stream`. `max_tokens` is what holds where none is given.

    Raises `UnsupportedField` and `InputError`.
    """
    fields = Fields(request, _PROVIDER)
    able = abilities(model)
    given = fields.max_tokens()
    body: JsonObject = {"max_tokens": max_tokens if given is None else given}
    stop = fields.stop()
    if stop:
        body["stop_sequences"] = stop
    body.update(_tools(fields, able))
    body.update(_thinking(fields, able, body))
    body.update(_sampling(fields, able, thinks=thinks(body)))
    _output(fields, body)
    cache_control = fields.take("cache_control")
    if cache_control is not None:
        body["cache_control"] = cache_control
    body.update(_metadata(request.params))
    fields.finish()
    return body


def thinks(body: JsonObject) -> bool:
    """Whether the request turns thinking on."""
    thinking = body.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")


def _tools(fields: Fields, able: Abilities) -> JsonObject:
    tools, choice, parallel = fields.tools(), fields.tool_choice(), fields.flag("parallel_tool_calls")
    forced = choice is not None and choice.mode in ("required", "tool")
    if not tools:
        if forced:
            raise InputError("tool_choice: there are no tools to choose from", param="tool_choice")
        return {}
    if forced and not able.forced_tools:
        raise _unsupported("tool_choice", "this model cannot be made to call a tool")
    body: JsonObject = {"tools": [_tool(tool) for tool in tools]}
    if parallel is False and (choice is None or choice.mode != "none"):
        body["tool_choice"] = {**_choice(choice or ToolChoice("auto")), "disable_parallel_tool_use": True}
    elif choice is not None:
        body["tool_choice"] = _choice(choice)
    return body


def _tool(tool: Tool) -> JsonObject:
    """`strict` is left out where it is not asked for: older models do not know it."""
    out: JsonObject = {"name": tool.name, "input_schema": {"type": "object", **tool.parameters}}
    if tool.description:
        out["description"] = tool.description
    if tool.strict:
        out["strict"] = True
    return out


def _choice(choice: ToolChoice) -> JsonObject:
    if choice.mode == "tool":
        return {"type": "tool", "name": choice.name}
    return {"type": "any" if choice.mode == "required" else choice.mode}


def _thinking(fields: Fields, able: Abilities, body: JsonObject) -> JsonObject:
    """`thinking` and `output_config.effort`. A native `thinking` goes through as it is and outweighs the effort.

    `summarized` is asked for because models since 4.7 otherwise think for minutes without a word on the wire, and some
    leave out all that they say between tool calls, also where nobody asked them to think.
    """
    native, effort = fields.take("thinking"), fields.effort()
    if native is not None:
        if not isinstance(native, dict):
            raise InputError("thinking must be an object", param="thinking")
        return {"thinking": native, **_effort(able, effort)}
    if effort is None:
        return {"thinking": _SUMMARIZED} if "tools" in body and not able.forced_tools else {}
    if effort == "none":
        if not able.thinking_off:
            raise _unsupported("reasoning_effort", "this model always thinks")
        return {"thinking": {"type": able.thinking_off}} if able.thinking == "adaptive" else {}
    if able.thinking == "none":
        raise _unsupported("reasoning_effort", "this model does not think")
    if able.thinking == "adaptive":
        return {"thinking": _SUMMARIZED, **_effort(able, effort)}
    return {"thinking": {"type": "enabled", "budget_tokens": _budget(effort, body)}}


def _effort(able: Abilities, effort: str | None) -> JsonObject:
    if effort is None or effort == "none" or able.thinking != "adaptive":
        return {}
    return {"output_config": {"effort": effort if effort in _LATER_EFFORTS and able.efforts else _EFFORTS[effort]}}


def _budget(effort: str, body: JsonObject) -> int:
    """At most half of all tokens, because an answer has to fit as well."""
    max_tokens, choice = body["max_tokens"], body.get("tool_choice")
    if isinstance(choice, dict) and choice["type"] in ("any", "tool"):
        raise _unsupported("reasoning_effort", "a model of this generation cannot think where a tool is forced")
    if not isinstance(max_tokens, int) or max_tokens <= _MIN_BUDGET_TOKENS:
        raise _unsupported("reasoning_effort", f"thinking needs more than {_MIN_BUDGET_TOKENS} max_tokens")
    return min(_BUDGETS_TOKENS[effort], max(_MIN_BUDGET_TOKENS, max_tokens // 2))


def _sampling(fields: Fields, able: Abilities, *, thinks: bool) -> JsonObject:
    """Temperatures above 1, which OpenAI takes, have no equal. 1, for temperature and top_p, is the API's default."""
    temperature, top_p, top_k = fields.number("temperature"), fields.number("top_p"), fields.integer("top_k")
    if temperature is not None and not 0 <= temperature <= 1:
        raise _unsupported("temperature", "it must be from 0 to 1")
    asked: JsonObject = {}
    if temperature is not None and temperature != 1:
        asked["temperature"] = temperature
    if top_p is not None and top_p != 1:
        asked["top_p"] = top_p
    if top_k is not None:
        asked["top_k"] = top_k
    for name in asked:
        if not able.sampling:
            raise _unsupported(name, "this model has no sampling parameters")
        if thinks and not (name == "top_p" and top_p is not None and top_p >= _MIN_TOP_P_THINKING):
            raise _unsupported(name, f"not while thinking (top_p from {_MIN_TOP_P_THINKING} on is)")
    if "temperature" in asked and "top_p" in asked and not able.temperature_and_top_p:
        raise _unsupported("top_p", "this model takes either temperature or top_p")
    return asked


def _output(fields: Fields, body: JsonObject) -> None:
    """`output_config`: the effort that is there already, the answer's form, and what the caller says natively."""
    form, native = fields.format(), fields.take("output_config")
    if native is not None and not isinstance(native, dict):
        raise InputError("output_config must be an object", param="output_config")
    if form is not None and form.kind == "json_object":
        raise _unsupported("response_format", "JSON needs a schema here (json_schema)")
    config = body.get("output_config")
    merged = dict(config) if isinstance(config, dict) else {}
    if form is not None:
        merged["format"] = {"type": "json_schema", "schema": form.schema}
    merged.update(native or {})
    if merged:
        body["output_config"] = merged


def _metadata(params: Mapping[str, object]) -> JsonObject:
    """`safety_identifier` is a hash by OpenAI's rules, as Anthropic wants it; `user` may be an e-mail address."""
    user = params.get("safety_identifier")
    if isinstance(user, str) and 0 < len(user) <= _MAX_USER_CHARACTERS:
        return {"metadata": {"user_id": user}}
    return {}


def _unsupported(param: str, why: str) -> UnsupportedField:
    return UnsupportedField(f"{_PROVIDER} cannot take {param}: {why}", param=param)
