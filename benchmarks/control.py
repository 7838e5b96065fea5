"""How the runner steers the load generators: one JSON command a line on stdin, one JSON answer a line on stdout.

A generator ends when its stdin does, so none outlives the runner.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

Handler: TypeAlias = Callable[..., Awaitable[dict[str, Any]]]


async def serve_commands(commands: dict[str, Handler]) -> None:
    """Answer commands until stdin ends. A failed command is answered with `{"failed": why}`."""
    reader = asyncio.StreamReader(limit=2**24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        order = json.loads(line)
        try:
            answer = await commands[order.pop("command")](**order)
        except (OSError, TimeoutError) as exc:
            answer = {"failed": f"{type(exc).__name__}: {exc}"}
        os.write(1, json.dumps(answer).encode() + b"\n")
