"""What each generation of Claude takes, read from a model's name.

Sources, as of API version 2026-10-21 and SDK 2.11: the prefill, thinking, effort and sampling pages under
https://platform.claude.com/docs/en/build-with-claude and the SDK's `ModelParam`, `ThinkingConfigParam` and
`OutputConfigParam`. A name that tells no generation (another vendor's model behind this format) is taken to be able to
do everything: its server refuses what it cannot. Pure.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias

Thinking: TypeAlias = Literal["none", "budget", "adaptive"]

# claude-opus-4-7, claude-3-7-sonnet-20250219, claude-sonnet-5, anthropic.claude-opus-4-6-v1, claude-opus-4-1@20250805;
# a date is no version.
_VERSION = re.compile(r"claude(?:-[a-z]+)*-(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")
_WITHOUT_NUMBER = {"claude-mythos-preview": (4, 7)}
_ALWAYS_THINKS = re.compile(r"claude-(?:mythos|fable)")


class Abilities(NamedTuple):
    """`sampling`: temperature, top_p and top_k; `temperature_and_top_p`: both at once; `xhigh`: that effort."""

    prefill: bool = True
    sampling: bool = True
    temperature_and_top_p: bool = True
    thinking: Thinking = "budget"
    always_thinks: bool = False
    xhigh: bool = False


def abilities(model: str) -> Abilities:
    name = model.lower()
    version = _generation(name)
    if version is None:
        return Abilities()
    return Abilities(
        prefill=version < (4, 6),
        sampling=version < (4, 7),
        temperature_and_top_p=version < (4, 1),
        thinking="adaptive" if version >= (4, 6) else "budget" if version >= (3, 7) else "none",
        always_thinks=_ALWAYS_THINKS.search(name) is not None,
        xhigh=version >= (4, 7),
    )


def _generation(name: str) -> tuple[int, int] | None:
    match = _VERSION.search(name)
    if match is not None:
        return int(match[1]), int(match[2] or 0)
    return next((version for known, version in _WITHOUT_NUMBER.items() if known in name), None)
