"""The flags of `headwater serve`, made from the settings: a new setting is a new flag without a line here.

Values are passed on as text, so that a flag, a variable and a line of the file are checked by the same rules and
complained about in the same words.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from ..config import TABLES, Settings

UNITS = {"config": "FILE", "_s": "SECONDS", "_ms": "MS", "_bytes": "BYTES", "_url": "URL", "_dir": "DIRECTORY"}


def signature() -> inspect.Signature:
    """One keyword parameter a setting, in the order of the settings, as typer reads them."""
    return inspect.Signature([_parameter(name, field) for name, field in flagged().items()])


def flagged() -> dict[str, FieldInfo]:
    """The settings that are flags: all but tables."""
    return {name: field for name, field in Settings.model_fields.items() if name not in TABLES}


def group_of(field: FieldInfo) -> str:
    return _extra(field, "group")


def default_of(field: FieldInfo) -> str:
    """The default as people read it: `none` where nothing is set."""
    if shown := _extra(field, "shown"):
        return shown
    if field.default is None or field.default in ("", ()):
        return "none"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return f"{field.default:g}" if isinstance(field.default, float) and field.default < 1e6 else str(field.default)


def choices_of(field: FieldInfo) -> tuple[str, ...]:
    """The values that a setting may have; of one that may also be unset, the others."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())


def _extra(field: FieldInfo, key: str) -> str:
    extra = field.json_schema_extra
    return str(extra[key]) if isinstance(extra, dict) else ""


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    is_switch = field.annotation is bool
    # The default is in the text: the parameter's own is None, which means "ask the weaker sources".
    help_text = f"{field.description} [default: {default_of(field)}]".replace("`", "")
    option = typer.Option(
        f"{flag}/--no{flag[1:]}" if is_switch else flag,
        help=help_text.replace("[", "\\["),
        metavar=None if is_switch else metavar_of(name, field),
        rich_help_panel=group_of(field),
        show_default=False,
        autocompletion=_complete(choices_of(field)),
    )
    annotation: object = Annotated[bool | None, option] if is_switch else Annotated[str | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def metavar_of(name: str, field: FieldInfo) -> str:
    if choices := choices_of(field):
        return "|".join(choices)
    for suffix, unit in UNITS.items():
        if name.endswith(suffix):
            return unit
    kinds = (field.annotation, *get_args(field.annotation))
    return "NUMBER" if int in kinds or float in kinds else "TEXT"


def _complete(choices: Sequence[str]) -> Callable[[str], list[str]] | None:
    if not choices:
        return None

    def matching(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return matching


def with_settings(run: Callable[[dict[str, Any]], None], doc: str) -> Callable[..., None]:
    """`run` as a function whose parameters are the settings; it gets those that were given."""

    def command(**given: Any) -> None:
        run({name: value for name, value in given.items() if value is not None})

    command.__signature__ = signature()  # type: ignore[attr-defined]
    command.__doc__ = doc
    return command
