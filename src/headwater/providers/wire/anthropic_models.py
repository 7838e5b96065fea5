"""What each generation of Claude takes, read from a model's name.

Sources, as of API version 2026-10-21 and SDK 2.11: the prefill, thinking, effort and sampling pages under
https://platform.claude.com/docs/en/build-with-claude, what is new in Opus 5.5, Sonnet 5.5 and Haiku 5.5 under
https://platform.claude.com/docs/en/models, and the SDK's `ModelParam`, `ThinkingConfigParam` and `OutputConfigParam`.
Mythos is taken to do what Fable of its number does, which those pages do not say. A name that tells no generation
(another vendor's model behind this format) is taken to be able to do everything: its server refuses what it cannot.
Pure.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias

Thinking: TypeAlias = Literal["none", "budget", "adaptive"]
ThinkingOff: TypeAlias = Literal["disabled", "between_tools", ""]

# claude-opus-4-7, claude-3-7-sonnet-20250219, claude-sonnet-5, anthropic.claude-opus-4-6-v1, claude-opus-4-1@20250805;
# a date is no version.
_VERSION = re.compile(r"claude(?:-[a-z]+)*-(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")
_WITHOUT_NUMBER = {"claude-mythos-preview": (4, 7)}
_FAMILY = re.compile(r"claude-(?:\d[\d.-]*)?(opus|sonnet|fable|mythos)")
# Since these, no tool can be forced, and what a model says between its tool calls is thinking.
_FREE_WITH_TOOLS = {"opus": (5, 5), "sonnet": (5, 5), "fable": (5, 1), "mythos": (5, 1)}
# Since these, thinking cannot be turned off.
_ALWAYS_THINKS = {"opus": (5, 5), "fable": (0, 0), "mythos": (0, 0)}
_NEVER = (999, 0)


class Abilities(NamedTuple):
    """`sampling`: temperature, top_p and top_k; `temperature_and_top_p`: both at once; `efforts`: xhigh and max, too.

    `thinking_off`: the type of thinking that turns it off, "" where nothing does. `forced_tools`: whether it can be
    told to call one; where it cannot, what it says between its calls comes as thinking.
    """

    prefill: bool = True
    sampling: bool = True
    temperature_and_top_p: bool = True
    thinking: Thinking = "budget"
    thinking_off: ThinkingOff = "disabled"
    forced_tools: bool = True
    efforts: bool = False


def abilities(model: str) -> Abilities:
    name = model.lower()
    version = _generation(name)
    if version is None:
        return Abilities()
    family = _FAMILY.search(name)
    kind = family[1] if family is not None else ""
    forced_tools = version < _FREE_WITH_TOOLS.get(kind, _NEVER)
    off: ThinkingOff = "disabled" if forced_tools or kind != "sonnet" else "between_tools"
    return Abilities(
        prefill=version < (4, 6),
        sampling=version < (4, 7),
        temperature_and_top_p=version < (4, 1),
        thinking="adaptive" if version >= (4, 6) else "budget" if version >= (3, 7) else "none",
        thinking_off="" if version >= _ALWAYS_THINKS.get(kind, _NEVER) else off,
        forced_tools=forced_tools,
        efforts=version >= (4, 7),
    )


def _generation(name: str) -> tuple[int, int] | None:
    match = _VERSION.search(name)
    if match is not None:
        return int(match[1]), int(match[2] or 0)
    return next((version for known, version in _WITHOUT_NUMBER.items() if known in name), None)
