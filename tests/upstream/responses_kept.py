"""Background responses: kept by the server, read again from any event on, and cancelled by name."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from . import responses_format
from .answer import Answer
from .script import Script

_PATH = f"{responses_format.CHAT}/"


class _Kept:
    def __init__(self, body: dict[str, Any], script: Script) -> None:
        self.body = body
        self.script = script
        self.requests = 1
        self.cancelled = False


class Reading(NamedTuple):
    """The answer to a request for a kept response; the script has the faults in force."""

    answer: Answer
    script: Script


class KeptResponses:
    """`cancelled`: ids of the responses that were cancelled, in order. All others are generated to their end."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self._kept: dict[str, _Kept] = {}

    def keep(self, body: dict[str, Any], script: Script) -> dict[str, Any]:
        """The body with the id of the response to it, if that is one of the background."""
        if not body.get("background"):
            return body
        body = {**body, "id": f"{responses_format.ID}{len(self._kept):04}"}
        self._kept[body["id"]] = _Kept(body, script)
        return body

    def has_stream(self, method: str, path: str) -> bool:
        return method == "GET" and path.removeprefix(_PATH) in self._kept

    def read(self, method: str, path: str, query: str) -> Reading | None:
        """None for a path that is none of theirs. A fault counts these requests as further ones of its key."""
        if not path.startswith(_PATH):
            return None
        id, _, action = path.removeprefix(_PATH).partition("/")
        kept = self._kept.get(id)
        if kept is None:
            message = f"Response with id '{id}' not found."
            return Reading(responses_format.error(404, message, None, "invalid_request_error"), Script())
        if (method, action) == ("POST", "cancel"):
            kept.cancelled = True
            self.cancelled.append(id)
        options = dict(parse_qsl(query))
        if method != "GET" or options.get("stream") != "true":
            return Reading(responses_format.settled(kept.body, kept.script, cancelled=kept.cancelled), Script())
        kept.requests += 1
        times = kept.script.fault_times
        script = kept.script
        if times is not None and kept.requests > times:
            script = msgspec.structs.replace(script, fault="")
        frames = responses_format.events(kept.body, script, cancelled=kept.cancelled)
        after = int(options.get("starting_after", -1))
        return Reading(responses_format.streamed(frames[after + 1 :], script), script)
