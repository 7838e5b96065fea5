"""What the chat backend goes by, as plain values; the settings of the same names fill it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Titles: TypeAlias = Literal["model", "words", "off"]

REFUSAL = "There is no relevant information in this workspace to answer your query."


class ChatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults for what a workspace or a request leaves open. Tokens are estimated at four characters each.

    `history_turns`: earlier questions, with their answers, that go into a prompt (20, as reference 000 has it).
    `passages_tokens`: room for passages in a prompt. `min_score` 0 to 1: passages below it are not used. `titles`: who
    names a thread after its first answer. `judge_model`: "" judges answers by their words alone.
    """

    system_prompt: str = "You are a helpful assistant."
    query_refusal: str = REFUSAL
    history_turns: int = 20
    history_tokens: int = 8000
    passages: int = 6
    passages_tokens: int = 4000
    pinned_tokens: int = 8000
    min_score: float = 0.1
    titles: Titles = "model"
    signals: bool = True
    judge_model: str = ""
    judge_timeout_s: float = 10.0
    max_message_characters: int = 200_000
    max_attachments: int = 10
    max_attachment_bytes: int = 4 * 2**20
    max_threads: int = 100_000
    max_workspaces: int = 1000
    conversation_max_age_s: float = 0.0


class AiChatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the routes of reference 001 go by.

    `model`: of requests that name none; "": the workspace's, else the server's default. `provider`: the one whose
    models all of theirs are; "": any.
    """

    enabled: bool = True
    model: str = ""
    provider: str = ""

    def model_of(self, named: str | None) -> str:
        """The public name of the model that a request names, or of the one it gets."""
        model = named or self.model
        prefix = f"{self.provider}/"
        return model if not (model and self.provider) or model.startswith(prefix) else prefix + model
