"""The canonical request as the Responses API wants it: messages as input items, tools and formats flattened.

Earlier thinking goes back where it came from this API and is sealed: as a reasoning item before the calls that followed
it. All other thinking is for people. Shapes are those of `openai.types.responses` (`ResponseInputItemParam`,
`FunctionToolParam`, `ResponseTextConfigParam`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import InputError, UnsupportedField
from ...events import JsonObject
from ...request import ChatRequest
from .conversation import Fields, FilePart, ImagePart, Part, TextPart, Tool, Turn, read_turns
from .responses_answer import SIGNATURE_MARK

NAME = "OpenAI's Responses API"


def input_items(messages: Sequence[JsonObject]) -> list[JsonObject]:
    """Raises `InputError`; `UnsupportedField` for audio, for a participant's name, for parts out of their place."""
    items: list[JsonObject] = []
    for message, turn in zip(messages, read_turns(messages), strict=True):
        if turn.role == "tool":
            items.append(_tool_answer(turn))
            continue
        if turn.name:
            where = f"{turn.path}.name"
            raise UnsupportedField(f"{where}: {NAME} has no names of participants", param=where)
        content = [_output_part(turn, part) if turn.role == "assistant" else _part(turn, part) for part in turn.parts]
        if content or turn.role != "assistant":
            items.append({"type": "message", "role": message["role"], "content": content or ""})
        items += _sealed_thinking(turn)
        items += [
            {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
            for call in turn.calls
        ]
    return items


def _sealed_thinking(turn: Turn) -> list[JsonObject]:
    id, _, sealed = turn.signature.removeprefix(SIGNATURE_MARK).partition(":")
    if not (turn.calls and sealed and turn.signature.startswith(SIGNATURE_MARK)):
        return []
    return [{"type": "reasoning", "id": id, "summary": [], "encrypted_content": sealed}]


def _tool_answer(turn: Turn) -> JsonObject:
    if not turn.call_id:
        raise InputError(f"{turn.path}: a tool's answer must name its tool_call_id", param=f"{turn.path}.tool_call_id")
    plain = all(isinstance(part, TextPart) for part in turn.parts)
    output = turn.text if plain else [_part(turn, part) for part in turn.parts]
    return {"type": "function_call_output", "call_id": turn.call_id, "output": output}


def _output_part(turn: Turn, part: Part) -> JsonObject:
    """What the assistant said. A refusal is text like any other to the model that reads it."""
    if not isinstance(part, TextPart):
        raise turn.refuse(part, NAME)
    return {"type": "output_text", "text": part.text}


def _part(turn: Turn, part: Part) -> JsonObject:
    match part:
        case TextPart():
            return {"type": "input_text", "text": part.text}
        case ImagePart():
            url = part.url or _data_url(part.media_type, part.data)
            return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
        case FilePart():
            return {"type": "input_file", **_file(part)}
        case _:
            raise turn.refuse(part, NAME)


def _file(part: FilePart) -> JsonObject:
    if part.data:
        return {"filename": part.filename or "file", "file_data": _data_url(part.media_type, part.data)}
    return {"file_id": part.file_id} if part.file_id else {"file_url": part.url}


def _data_url(media_type: str, data: str) -> str:
    return f"data:{media_type};base64,{data}"


def tools_apart(request: ChatRequest) -> tuple[ChatRequest, list[JsonObject]]:
    """The request with functions as its only tools, and the API's own tools (`web_search` …), which go unchanged."""
    tools = request.params.get("tools")
    own = [tool for tool in tools if _is_own(tool)] if isinstance(tools, list) else []
    if not isinstance(tools, list) or not own:
        return request, []
    rest = [tool for tool in tools if not _is_own(tool)]
    return ChatRequest(request.model, request.messages, {**request.params, "tools": rest}), own


def _is_own(tool: object) -> bool:
    return isinstance(tool, dict) and tool.get("type", "function") not in ("function", "custom")


def flat_tool(tool: Tool) -> JsonObject:
    """A function is strict here unless it says otherwise, in chat completions only where it says so."""
    flat: JsonObject = {"type": "function", "name": tool.name, "strict": bool(tool.strict)}
    if tool.description:
        flat["description"] = tool.description
    flat["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    return flat


def text_config(fields: Fields, request: ChatRequest) -> JsonObject:
    """`response_format` and `verbosity`; {} where neither is given."""
    config: JsonObject = {}
    form = fields.format()
    if form is not None and form.kind == "json_object":
        config["format"] = {"type": "json_object"}
    elif form is not None:
        config["format"] = {"type": "json_schema", "name": form.name, "schema": form.schema, **_details(request)}
    verbosity = fields.take("verbosity")
    if verbosity is not None:
        config["verbosity"] = verbosity
    return config


def _details(request: ChatRequest) -> JsonObject:
    """What a JSON schema's wrapper has besides name and schema."""
    wrapper = request.params["response_format"]
    inner = wrapper["json_schema"] if isinstance(wrapper, dict) else {}
    return {name: inner[name] for name in ("description", "strict") if inner.get(name) is not None}
