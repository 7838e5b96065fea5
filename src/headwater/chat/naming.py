"""Titles of threads: by the answer's own model after the first answer, beside it and never in its way."""

from __future__ import annotations

import asyncio
import logging

from ..errors import HeadwaterError
from .aside import Aside, Asides
from .conversations import Conversations
from .records import Message
from .settings import ChatSettings
from .titles import clean_title, title_from_words, title_messages

_logger = logging.getLogger(__name__)

TIMEOUT_S = 60.0
# Models that play or quote what is there cannot name it.
_NO_WRITERS = frozenset({"extractive", "replay"})


class Naming:
    """`settings.titles`: `model` names a thread by words at once, and better when the model has answered."""

    def __init__(self, asides: Asides, conversations: Conversations, settings: ChatSettings) -> None:
        self._asides = asides
        self._conversations = conversations
        self._settings = settings
        self._tasks: set[asyncio.Task[None]] = set()

    async def answered(self, answer: Message, question: Message, meters: list[str]) -> None:
        """A first answer came. Returns when the thread has a title of words; the model's may follow."""
        if self._settings.titles == "off":
            return
        threads = self._conversations.threads
        if (await threads.get(answer.tenant, answer.thread_id)).title:
            return  # another branch's first answer named it
        words = title_from_words(question.content)
        if words:
            await threads.update(answer.tenant, answer.thread_id, title=words, title_source="words")
        if self._settings.titles == "model" and answer.status == "done" and answer.provider not in _NO_WRITERS:
            task = asyncio.get_running_loop().create_task(self._ask(answer, question, meters), name="headwater-title")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, answer: Message, question: Message, meters: list[str]) -> None:
        aside = Aside(answer.tenant, meters, key=f"title:{answer.thread_id}", local=answer.confidential)
        try:
            told = await self._asides.ask(
                aside, answer.model, title_messages(question.content, answer.content), timeout_s=TIMEOUT_S
            )
            title = clean_title(told)
            if title:
                await self._conversations.threads.update(
                    answer.tenant, answer.thread_id, title=title, title_source="model"
                )
        except HeadwaterError as exc:
            _logger.info("thread %s keeps a title of words: %s", answer.thread_id, exc.message)
        except Exception:
            # Nobody waits for this task.
            _logger.exception("thread %s could not be named", answer.thread_id)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
