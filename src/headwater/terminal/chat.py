"""`headwater chat`: a conversation on the terminal, or one answer for a pipe.

Ctrl-C stops the answer that is running (a cancel at the server, not a disconnect); a second one leaves at once, as
Ctrl-C and Ctrl-D at the prompt do.
`asyncio.Runner` gives just that: the first SIGINT cancels the running task, the next raises `KeyboardInterrupt`.
"""

from __future__ import annotations

import asyncio
import sys

from ..client import EventStream, HeadwaterClient
from ..errors import HeadwaterError, StreamReset
from ..events import Done, Error, JsonObject, Terminal, Text
from .display import Display, consoles
from .exits import FAILED, FINE, INTERRUPTED, MISUSED
from .reaching import RECONNECT, reach

PROMPT = "> "
HELP = "/model [NAME] shows or sets the model, /clear forgets the conversation, /quit leaves"


def chat(model: str, *, url: str, key: str) -> int:
    """Returns the exit code. Raises `HeadwaterError` where the server cannot be used at all."""
    display = Display(*consoles())
    try:
        question = None if sys.stdin.isatty() else sys.stdin.read()
        if question is not None and not question.strip():
            display.note("headwater: nothing to ask: the question is read from stdin, which is empty")
            return MISUSED
        with asyncio.Runner() as runner:
            client = HeadwaterClient(url, key or None, reconnect=RECONNECT)
            try:
                runner.run(reach(client.list(limit=1), url))
                return _use(runner, Conversation(client, model, display), question)
            finally:
                runner.run(client.close())
    except KeyboardInterrupt:
        return INTERRUPTED


def _use(runner: asyncio.Runner, conversation: Conversation, question: str | None) -> int:
    if question is None:
        return _converse(runner, conversation)
    return _answer_once(runner, conversation, question)


class Conversation:
    """The messages so far, and the answer that is being written."""

    def __init__(self, client: HeadwaterClient, model: str, display: Display) -> None:
        self.client = client
        self.model = model
        self.display = display
        self._messages: list[JsonObject] = []
        self._text: list[str] = []

    def clear(self) -> None:
        self._messages.clear()

    async def ask(self, question: str) -> Terminal | None:
        """Shows the answer; returns how it ended. A cancellation of this task stops the answer at the server."""
        self._messages.append({"role": "user", "content": question})
        self._text.clear()
        try:
            return await self._answer()
        finally:
            self.display.end_line()
            self._remember()

    def _remember(self) -> None:
        """What was shown was said; a question without any answer is taken back."""
        text = "".join(self._text)
        if text:
            self._messages.append({"role": "assistant", "content": text})
        else:
            self._messages.pop()

    async def _answer(self) -> Terminal | None:
        stream = self.client.stream(
            messages=self._messages,
            model=self.model or None,
            raise_on_error=False,
            on_reconnect=self.display.reconnecting,
        )
        try:
            return await self._show(stream)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            await stream.cancel()
            return await self._show(stream)

    async def _show(self, stream: EventStream) -> Terminal | None:
        end: Terminal | None = None
        while end is None and not stream.ended:
            try:
                async for event in stream:
                    self.display.show(event)
                    if isinstance(event, Text) and not event.choice:
                        self._text.append(event.text)
                    elif isinstance(event, Error | Done):
                        end = event
            except StreamReset:
                self.display.restart()
                self._text.clear()
                stream = self.client.follow(
                    await stream.start(), raise_on_error=False, on_reconnect=self.display.reconnecting
                )
        return end


def _answer_once(runner: asyncio.Runner, conversation: Conversation, question: str) -> int:
    end = runner.run(conversation.ask(question))
    if isinstance(end, Done):
        return INTERRUPTED if end.reason == "cancelled" else FINE
    return FAILED


def _converse(runner: asyncio.Runner, conversation: Conversation) -> int:
    _enable_line_editing()
    conversation.display.note(HELP)
    while True:
        try:
            line = _asked().strip()
        except EOFError:
            conversation.display.note("")
            return FINE
        if line.startswith("/"):
            if _command(runner, conversation, line):
                return FINE
        elif line:
            try:
                runner.run(conversation.ask(line))
            except HeadwaterError as exc:
                conversation.display.note(exc.message, style="red")


def _asked() -> str:
    """One line from the person. `input` would put its prompt into the answers where stdout is a file or a pipe."""
    if sys.stdout.isatty():
        return input(PROMPT)
    sys.stderr.write(PROMPT)
    sys.stderr.flush()
    return input()


def _command(runner: asyncio.Runner, conversation: Conversation, line: str) -> bool:
    """Obeys a line that begins with `/`. True: leave."""
    name, _, argument = line[1:].partition(" ")
    match name:
        case "quit" | "exit" | "q":
            return True
        case "clear":
            conversation.clear()
        case "model" if argument:
            conversation.model = argument.strip()
        case "model":
            conversation.display.note(f"model: {conversation.model or 'the default of the server'}")
            try:
                conversation.display.note("there are: " + ", ".join(runner.run(_models(conversation.client))))
            except HeadwaterError as exc:
                conversation.display.note(exc.message, style="red")
        case _:
            conversation.display.note(HELP)
    return False


async def _models(client: HeadwaterClient) -> list[str]:
    return list(await client.models())


def _enable_line_editing() -> None:
    """`input` edits lines and keeps a history once readline is imported, where the system has it."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return
