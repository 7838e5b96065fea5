"""Programs under test as real processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
START_S = 60
STOP_S = 10
URL = re.compile(r"http://127\.0\.0\.1:\d+")


def environment(**extra: str) -> dict[str, str]:
    """This process's environment without settings and providers of the person who runs the tests."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HEADWATER_", "OPENAI_", "OLLAMA_")) and not name.lower().endswith("_proxy")
    }
    # A port that refuses: an Ollama that happens to run here must not take part.
    return {**ours, "OLLAMA_HOST": "http://127.0.0.1:9", "NO_COLOR": "1", "COLUMNS": "200", **extra}


class Ran(NamedTuple):
    code: int
    out: str
    err: str


async def run(*command: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ran:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment() if env is None else env,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), START_S)
    except BaseException:
        process.kill()
        raise
    return Ran(process.returncode or 0, out.decode(), err.decode())


def headwater(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "headwater.cli", *arguments)


class Served:
    """A running server. `banner` is what it said on stderr until its address was known."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, banner: str) -> None:
        self.process = process
        self.url = url
        self.banner = banner

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), START_S)

    async def rest(self) -> str:
        """What it says until it ends."""
        assert self.process.stderr is not None
        return (await asyncio.wait_for(self.process.stderr.read(), START_S)).decode()


@asynccontextmanager
async def served(*command: str, until: str, **env: str) -> AsyncIterator[Served]:
    """A running server: one of its lines on stderr contains `until`, and an address was named. Stopped at the end."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, env=environment(**env)
    )
    try:
        assert process.stderr is not None
        said = ""
        async with asyncio.timeout(START_S):
            while not (URL.search(said) and until in said.rpartition("\n")[0]):
                line = await process.stderr.readline()
                assert line, f"it ended with {await process.wait()}: {said}"
                said += line.decode()
        found = URL.search(said)
        assert found is not None
        yield Served(process, found[0], said)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.communicate(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def headwater_server(data_dir: Path, *flags: str, **env: str) -> AsyncIterator[Served]:
    command = headwater("serve", "--port", "0", "--grace-s", "0", "--data-dir", str(data_dir), *flags)
    async with served(*command, until="API ", **env) as server:
        yield server
