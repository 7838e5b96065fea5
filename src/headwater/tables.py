"""The tables of the settings: providers, model routes and prices, as TOML and the routes API hold them.

One definition for both: a table is checked by `read_table`, whose errors name the field by its path. Secrets are never
in a table: `api_key` and header values are references `env:NAME` to environment variables.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, TypeVar, get_args

import msgspec

from .errors import InputError

Amount: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1_000_000_000)]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]

MAX_TARGETS = 32
_NAME = re.compile(r"[\w][\w.@:+ -]{0,99}(/[\w.@:+ -]{1,100})*")
# A reference to a variable; whatever else stands in such a field is refused, so that no secret gets into a file.
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_SECRET_HEADERS = frozenset(
    {"api-key", "authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token", "x-goog-api-key"}
)
# What msgspec says of a mistake that we know the remedy of.
_UNKNOWN_FIELD = re.compile(r"object contains unknown field `(.*)`", re.DOTALL)
_WRONG_CHOICE = re.compile(r"invalid enum value (.*)", re.DOTALL)
_LAST_FIELD = re.compile(r"\.(\w+)(?:\[[^\]]*\])?$")


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all tables share: an unknown key is a mistake, a default is not written."""


class Price(_Table, frozen=True, kw_only=True):
    """Price of a model, in `currency` per million tokens; `request` per request.

    `cached_input` (tokens that the provider read from its prompt cache) costs as `input` where it is not given.
    """

    input: Amount = 0.0
    output: Amount = 0.0
    cached_input: Amount | None = None
    request: Amount = 0.0
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")] = "USD"


class Limits(_Table, frozen=True, kw_only=True):
    """What an upstream is asked for at most, and how long it may be silent. 0 and None: no limit of its own.

    `max_queued` requests wait for a slot, each at most `queue_timeout_s`. Tokens a minute count prompt and answer.
    """

    max_concurrent: Count = 0
    requests_per_minute: Count = 0
    tokens_per_minute: Count = 0
    max_queued: Count = 1000
    queue_timeout_s: Seconds | None = None
    first_token_timeout_s: Seconds | None = None
    idle_timeout_s: Seconds | None = None


class ProviderTable(Limits, frozen=True, kw_only=True):
    """`[providers.NAME]`: one upstream. `type` names a preset or a plug-in; empty means that NAME does.

    `api_key` and the values of `headers` are `env:VARIABLE`; a header's value may also be plain text. `models`: fixed
    names instead of the upstream's own list. `stream = false`: the upstream cannot stream, its whole answer becomes a
    stream. `drop_unsupported = true`: fields that the upstream cannot take are left out instead of refused. `api`: for
    OpenAI, which of its two APIs. `api_version`: for Azure. `local`: whether what it is asked stays on this machine or
    in its private network, so that it may see confidential documents; None: where `base_url` names a loopback or
    private address.
    """

    type: str = ""
    base_url: str = ""
    api_key: str = ""
    headers: dict[str, str] = {}
    models: list[str] = []
    stream: bool = True
    drop_unsupported: bool = False
    api: Literal["", "chat", "responses"] = ""
    api_version: str = ""
    local: bool | None = None

    def __post_init__(self) -> None:
        if self.api_key and not _REFERENCE.fullmatch(self.api_key):
            raise ValueError('api_key must be "env:VARIABLE": secrets stay in the environment')
        for header, text in self.headers.items():
            if header.lower() in _SECRET_HEADERS and not _REFERENCE.fullmatch(text):
                raise ValueError(
                    f'the header {header[:100]} must be "env:VARIABLE", its whole value in that variable: secrets stay'
                    " in the environment"
                )


class Target(Limits, frozen=True, kw_only=True):
    """One place where a route's answers come from. `model`: the provider's own name of it; empty: the route's name.

    The first attempt goes to a target drawn by `weight` (by default 1 for the first target, 0 for the others); the
    others follow in the order of the list.
    """

    provider: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    model: str = ""
    weight: Amount | None = None
    price: Price | None = None


class RouteTable(_Table, frozen=True, kw_only=True):
    """`[routes.NAME]`: a public model name → ordered targets.

    `attempts`: calls of one target before the next one (None: 3 for a lone target, else 2); `max_attempts`: of all
    together. `max_cost`: no further attempt once this much (in the prices' currency) was spent on a stream.
    `hedge_after_s`: a second request to the next target when no content came by then; the first content wins.
    `continue_answers`: an answer cut in its middle goes on from its text so far, at most `max_continuations` times.
    """

    targets: Annotated[list[Target], msgspec.Meta(min_length=1, max_length=MAX_TARGETS)]
    fallback: bool = True
    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] | None = None
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 6
    max_cost: Amount | None = None
    hedge_after_s: Seconds | None = None
    continue_answers: bool = False
    max_continuations: Annotated[int, msgspec.Meta(ge=0, le=20)] = 2

    def __post_init__(self) -> None:
        weights = [target.weight for target in self.targets]
        if any(weight is not None for weight in weights) and not any(weights):
            raise ValueError("at least one target needs a weight above 0")


# Tables in tables, by the field that holds them.
_INNER: dict[str, type[_Table]] = {"targets": Target, "price": Price}

T = TypeVar("T", bound=_Table)


def read_table(value: object, kind: type[T], *, where: str) -> T:
    """Raises `InputError` whose `param` is the path of what is wrong (`routes.best.targets[0].weight`)."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        text, _, path = str(exc).partition(" - at `$")
        path = path.rstrip("`")
        at = where + path
        raise InputError(f"{at}: {_advised(text[:1].lower() + text[1:], kind, path)}", param=at) from exc


def check_quotes(name: str, value: object, kind: type[_Table], *, where: str) -> None:
    """Raises `InputError` for a table whose name holds a dot without quotes: TOML makes two tables of `gpt-4.1`."""
    if not isinstance(value, Mapping):
        return
    fields = kind.__struct_fields__
    for key, inner in value.items():
        # A field with a slip of the pen is told as that.
        if not isinstance(inner, Mapping) or key in fields or difflib.get_close_matches(str(key), fields, n=1):
            continue
        dotted = f"{name}.{key}"
        check_quotes(dotted, inner, kind, where=where)
        raise InputError(
            f'{where}.{dotted}: there is no such table; a name with a dot needs quotes: [{where}."{dotted}"]',
            param=where,
        )


def _advised(text: str, kind: type[_Table], path: str) -> str:
    """`text` of msgspec, with what there is to choose from at `path` below a table of `kind`."""
    last = _LAST_FIELD.search(path)
    if found := _UNKNOWN_FIELD.fullmatch(text):
        fields = (_INNER.get(last[1], kind) if last else kind).__struct_fields__
        near = difflib.get_close_matches(found[1], fields, n=1)
        return text + (f"; did you mean {near[0]!r}?" if near else "")
    if last and (found := _WRONG_CHOICE.fullmatch(text)):
        types = {field.name: field.type for field in msgspec.structs.fields(kind)}
        choices = [choice for choice in get_args(types.get(last[1])) if choice]
        return f"must be {' or '.join(map(repr, choices))}, not {found[1]}" if choices else text
    return text


def check_name(name: str, *, where: str) -> str:
    """A public name of a route or a provider. Raises `InputError`."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{where}: {name[:100]!r} is not a name", param=where)
    return name
