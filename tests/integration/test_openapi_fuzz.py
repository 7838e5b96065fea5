"""The API against its own description: whatever schemathesis makes of it, there is no 5xx, and what comes is as told.

One server in the test's loop, on a socket, called by an administrator, to whom every route is open: a key that is made
on the way would close them to a caller without. There is one of everything, which every other call is for; else they
would all be for what never was. The calls come from a thread, as schemathesis is not asynchronous.
"""

from __future__ import annotations

import asyncio
import re
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import pytest
import pytest_asyncio
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .tenants_kit import ADMIN, KINDS, Person, bearer, made, people

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow, pytest.mark.timeout(600)]

# Of the second and third address of a route fewer: what is behind them is the same.
EXAMPLES, EXAMPLES_OF_ALIASES, SEED = 10, 2, 20_240_229
_ALIAS = re.compile(r"_below_api$|^anything_pages_")
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
CALL_TIMEOUT_S = 20
AnyOperation: TypeAlias = APIOperation[Any, Any, Any, Any]
AnyCase: TypeAlias = schemathesis.Case[Any]

# Names of an address that are told from those of a body.
PATHS = {
    "message": ("message",), "slug": ("workspace_slug",), "thread_slug": ("thread_slug",), "model": ("model",),
    "connection_id": ("connection",), "task_id": ("task",), "workspace": ("workspace",), "name": ("file_name",),
}  # fmt: skip
# What has to fit the rest of a request, or names models that there are not.
HAS_TO_FIT = {
    "model", "provider", "chatModel", "chatProvider", "edit", "regenerate", "params", "selected_document_ids",
    "history", "leaf", "all", "before", "version", "start", "end", "after", "attachments", "slug", "dialect",
    "addToWorkspaces", "requestId",
}  # fmt: skip
PERIOD = {"start": "2020-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"}
QUERY = {"question": "hello", "prompt": "hello"}
BODY: dict[str, object] = {
    "messages": [{"role": "user", "content": "hello"}],
    "content": "hello",
    "file": b"hello there",
}
# What no made-up request comes to the end of, and why.
UNREACHED = {
    "GET /v1/routes/{name}": "no route is made",
    "PUT /v1/routes/{name}": "providers and models of a route are made up",
    "DELETE /v1/routes/{name}": "no route is made",
}


class Served(NamedTuple):
    url: str
    description: dict[str, Any]
    things: dict[str, list[str]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Served]:
    async with people() as found:
        [owner] = {each.tenant for each in [await found.it.identity.principal(ADMIN.encode())]}
        person: Person = await made(found.it, "ann", owner, bearer(ADMIN), 1)
        key = await found.key("ann", "chat", organization="", user="ann")
        hanging = person.things["live"]
        things = {kind: [each for each in values if each not in hanging] for kind, values in person.things.items()}
        [talk, *_], messages = things["thread"], things["message"]
        things |= {
            # One conversation, its messages, and sessions that are others, so that each can be deleted in its turn.
            "thread": [talk],
            "thread_slug": ["ann-live"],
            "workspace": things["workspace"][3:4],
            "message": messages[:4],
            "session": things["session"][2:],
            "document": [each for each in things["document"] if not each.isdecimal()],
            "key": [key["id"]],
            "model": ["quick"],
            "workspace_slug": ["ann-books"],
            "file_name": [each for each in things["file"] if "/" not in each],
        }
        yield Served(found.it.url, found.description, things)


async def test_nothing_is_answered_that_the_description_does_not_promise(served: Served) -> None:
    fuzzing = await asyncio.to_thread(fuzz, served, EXAMPLES, EXAMPLES_OF_ALIASES)
    assert not fuzzing.problems, "\n\n".join(fuzzing.problems.values())
    # Else little was shown: each route must come as far as an answer, and many calls as far as a refusal.
    assert not fuzzing.missed, "\n".join(fuzzing.missed)
    assert fuzzing.statuses[4] > sum(fuzzing.statuses.values()) / 10


async def test_a_caller_without_a_key_is_refused_as_described(served: Served) -> None:
    fuzzing = Fuzzing(served.things, headers={})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        await asyncio.to_thread(fuzzing.each_once, operations_of(served))
    assert not fuzzing.problems, "\n\n".join(fuzzing.problems.values())
    assert fuzzing.reached == {"GET /health", "GET /ready"}


def fuzz(served: Served, examples: int, of_aliases: int) -> Fuzzing:
    found = operations_of(served)
    # What deletes comes last, so that the others have something to be for.
    found.sort(key=lambda each: _depth(each.path) if each.method.upper() == "DELETE" else 0)
    fuzzing = Fuzzing(served.things)
    with warnings.catch_warnings():
        # Of hypothesis, about strategies that schemathesis makes.
        warnings.simplefilter("ignore")
        for operation in found:
            alias = _ALIAS.search(operation.definition.raw["operationId"])
            fuzzing.run(operation, of_aliases if alias else examples)
            if not alias and operation.label not in fuzzing.reached | UNREACHED.keys():
                fuzzing.missed.append(operation.label)
    return fuzzing


def operations_of(served: Served) -> list[AnyOperation]:
    schema = schemathesis.openapi.from_dict(served.description)
    schema.config.update(base_url=served.url)
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(found) == sum(map(len, served.description["paths"].values()))
    return found


def _depth(path: str) -> int:
    """Of what is deleted there: the deeper, the more goes with it."""
    if re.search(r"/workspaces?/{\w+}$", path):
        return 3
    return 2 if re.search(r"{(thread|thread_slug|session_id)}$", path) else 1


class Fuzzing:
    """`problems`: the first of each kind, by what tells it apart. `statuses`: how many, by their first digit.

    `reached`: which routes have answered; `missed`: which have refused everything.
    """

    def __init__(self, things: dict[str, list[str]], headers: dict[str, str] | None = None) -> None:
        self._headers = bearer(ADMIN) if headers is None else headers
        self._things = things
        self._session = requests.Session()
        self._turn = 0
        self.reached: set[str] = set()
        self.missed: list[str] = []
        self.problems: dict[tuple[str, ...], str] = {}
        self.statuses: Counter[int] = Counter()

    def run(self, operation: AnyOperation, examples: int) -> None:
        """What is right and means what is there, and as often what may be wrong."""
        meant = 1 if operation.method.upper() == "DELETE" else -(-examples // 2)
        self._give(operation, GenerationMode.POSITIVE, self._try_meant, meant)
        mixed = operation.body or operation.query or operation.path_parameters or operation.headers
        mode = GenerationMode.NEGATIVE if mixed else GenerationMode.POSITIVE
        self._give(operation, mode, self._try, examples // 2)

    def each_once(self, operations: Sequence[AnyOperation]) -> None:
        for operation in operations:
            self._give(operation, GenerationMode.POSITIVE, self._try, 1)

    def _give(
        self,
        operation: AnyOperation,
        mode: GenerationMode,
        attempt: Callable[[AnyCase], None],
        examples: int,
    ) -> None:
        bounded = settings(
            max_examples=examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        seed(SEED)(bounded(given(operation.as_strategy(generation_mode=mode))(attempt)))()

    def _try(self, case: AnyCase) -> None:
        place = case.operation.label
        try:
            response = case.call(session=self._session, headers=self._headers, timeout=CALL_TIMEOUT_S)
        except requests.RequestException as exc:
            self._note((place, type(exc).__name__), case, str(exc))
            return
        self.statuses[response.status_code // 100] += 1
        if response.status_code < 300:
            self.reached.add(place)
        for check in CHECKS:
            try:
                case.validate_response(response, checks=[check])
            except (Failure, FailureGroup) as exc:
                told = exc.exceptions if isinstance(exc, FailureGroup) else (exc,)
                self._note((place, check.__name__, str(response.status_code), *_kinds(told)), case, response.text)

    def _try_meant(self, case: AnyCase) -> None:
        """Name what is there, and leave out what would have to fit it; the rest is as it was made up."""
        self._turn += 1
        deletes = case.operation.method.upper() == "DELETE"
        for name in case.path_parameters:
            kinds = PATHS.get(name, KINDS.get(name, ()))
            case.path_parameters[name] = self._meant(kinds, case.path_parameters[name], spend=deletes)
        for name in case.query.keys() & HAS_TO_FIT:
            del case.query[name]
        case.query.pop("messages", None)  # JSON in an address; the prompt says it more simply
        told = {parameter.name for parameter in case.operation.query}
        case.query.update((name, value) for name, value in QUERY.items() if name in told)
        if case.operation.path.endswith("/metrics"):
            case.query.update(PERIOD)
        body: object = case.body
        if isinstance(body, dict):
            if case.operation.label == "POST /v1/threads/{thread}/messages":
                body["content"] = BODY["content"]
            for name in body.keys() & HAS_TO_FIT:
                del body[name]
            for name in body:
                body[name] = BODY[name] if name in BODY else self._meant(KINDS.get(name, ()), body[name])
        self._try(case)

    def _meant(self, kinds: Sequence[str], value: object, *, spend: bool = False) -> object:
        """`spend`: it is not named again, as it will be gone."""
        known = [each for kind in kinds for each in self._things.get(kind, ())]
        if isinstance(value, int):
            known = [each for each in known if each.isdecimal()]
        elif "session" not in kinds:
            known = [each for each in known if not each.isdecimal()]
        if not known or not isinstance(value, str | int):
            return value
        meant = known[self._turn % len(known)]
        if spend and len(known) > 1:
            for kind in kinds:
                self._things[kind] = [each for each in self._things[kind] if each != meant]
        return int(meant) if isinstance(value, int) else meant

    def _note(self, kind: tuple[str, ...], case: AnyCase, said: str) -> None:
        self.problems.setdefault(kind, f"{' '.join(kind)}\n{said[:500]}\n{case.as_curl_command()[:1500]}")


def _kinds(failures: Sequence[BaseException]) -> list[str]:
    """What is wrong, without the values at fault."""
    told = [f"{failure} {getattr(failure, 'validation_message', '')}".splitlines()[0][:200] for failure in failures]
    return [re.sub(r"[0-9a-f-]{9,}|\d+|\"[^\"]*\"", "#", each) for each in told]
