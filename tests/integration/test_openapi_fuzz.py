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
EXAMPLES, EXAMPLES_OF_ALIASES, SEED = 10, 3, 20_240_229
_IS_WORKSPACE = re.compile(r".*/workspaces?/{\w+}")
_ALIAS = re.compile(r"_below_api$|^anything_pages_")
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
CALL_TIMEOUT_S = 20
AnyCase: TypeAlias = schemathesis.Case[Any]

# Names of an address that are told from those of a body.
PATHS = {
    "message": ("message",), "slug": ("workspace_slug",), "thread_slug": ("thread_slug",), "model": ("model",),
    "connection_id": ("connection",), "task_id": ("task",), "workspace": ("workspace",), "name": ("file_name",),
}  # fmt: skip
PERIOD = {"start": "2020-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"}
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
        things |= {
            "key": [key["id"]],
            "model": ["quick"],
            "workspace_slug": ["ann-books"],
            "thread_slug": ["ann-talk"],
            "file_name": [each for each in things["file"] if "/" not in each],
        }
        yield Served(found.it.url, found.description, things)


async def test_nothing_is_answered_that_the_description_does_not_promise(served: Served) -> None:
    fuzzing = await asyncio.to_thread(fuzz, served, EXAMPLES, EXAMPLES_OF_ALIASES)
    assert not fuzzing.problems, "\n\n".join(fuzzing.problems.values())
    # Else little was shown: each route must come as far as an answer, and many calls as far as a refusal.
    assert not fuzzing.missed, "\n".join(fuzzing.missed)
    assert fuzzing.statuses[4] > sum(fuzzing.statuses.values()) / 10


def fuzz(served: Served, examples: int, of_aliases: int) -> Fuzzing:
    schema = schemathesis.openapi.from_dict(served.description)
    schema.config.update(base_url=served.url)
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(found) == sum(map(len, served.description["paths"].values()))
    # What deletes comes last, so that the others have something to be for.
    found.sort(
        key=lambda operation: (operation.method.upper() == "DELETE", bool(_IS_WORKSPACE.fullmatch(operation.path)))
    )
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


class Fuzzing:
    """`problems`: the first of each kind, by what tells it apart. `statuses`: how many, by their first digit.

    `reached`: which routes have answered; `missed`: which have refused everything.
    """

    def __init__(self, things: dict[str, list[str]]) -> None:
        self._things = things
        self._session = requests.Session()
        self._turn = 0
        self.reached: set[str] = set()
        self.missed: list[str] = []
        self.problems: dict[tuple[str, ...], str] = {}
        self.statuses: Counter[int] = Counter()

    def run(self, operation: APIOperation[Any, Any, Any, Any], examples: int) -> None:
        """What is right and means what is there, and as often what may be wrong."""
        self._give(operation, GenerationMode.POSITIVE, self._try_meant, -(-examples // 2))
        mixed = operation.body or operation.query or operation.path_parameters or operation.headers
        mode = GenerationMode.NEGATIVE if mixed else GenerationMode.POSITIVE
        self._give(operation, mode, self._try, examples // 2)

    def _give(
        self,
        operation: APIOperation[Any, Any, Any, Any],
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
            response = case.call(session=self._session, headers=bearer(ADMIN), timeout=CALL_TIMEOUT_S)
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
        """Name what is there, in the path and in the body, and models that there are."""
        self._turn += 1
        for name in case.path_parameters:
            case.path_parameters[name] = self._meant(name, "path", case.path_parameters[name])
        for name, value in PERIOD.items() if case.operation.path.endswith("/metrics") else ():
            case.query[name] = value
        body: object = case.body
        if isinstance(body, dict):
            for name in body.keys() & {"model", "provider", "chatModel", "chatProvider"}:
                del body[name]
            if "/streaming/" in case.operation.path:
                body["messages"] = [{"role": "user", "content": "hello"}]
            for name in body:
                body[name] = self._meant(name, "body", body[name])
        self._try(case)

    def _meant(self, name: str, place: str, value: object) -> object:
        kinds = PATHS.get(name, KINDS.get(name, ())) if place == "path" else KINDS.get(name, ())
        known = [each for kind in kinds for each in self._things.get(kind, ())]
        if not known or not isinstance(value, str | int):
            return value
        meant = known[self._turn % len(known)]
        return int(meant) if isinstance(value, int) and meant.isdecimal() else meant

    def _note(self, kind: tuple[str, ...], case: AnyCase, said: str) -> None:
        self.problems.setdefault(kind, f"{' '.join(kind)}\n{said[:500]}\n{case.as_curl_command()[:1500]}")


def _kinds(failures: Sequence[BaseException]) -> list[str]:
    """What is wrong, without the values at fault."""
    told = [f"{failure} {getattr(failure, 'validation_message', '')}".splitlines()[0][:200] for failure in failures]
    return [re.sub(r"[0-9a-f-]{9,}|\d+|\"[^\"]*\"", "#", each) for each in told]
