"""The npm package `headwater` (clients/js): its own tests, and its tests against a real server in Node and Chromium.

Those start nothing themselves: vitest gets the server's address, and a port by which it can have the server killed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.programs import find
from tests.stack import ROOT, Served
from tests.upstream import Upstream

CLIENT = ROOT / "clients" / "js"
VITEST = ROOT / "node_modules" / "vitest"

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not VITEST.is_dir(), reason="no node_modules (`npm ci` installs them)"),
]


async def _run(*command: str, **environment: str) -> str:
    """What the command printed; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=CLIENT,
        env={**os.environ, **environment, "NO_COLOR": "1", "CI": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    text = output.decode(errors="replace")
    assert process.returncode == 0, text
    return text


@asynccontextmanager
async def _control(served: Served) -> AsyncIterator[int]:
    """A port that takes `kill`, `start` or `restart` as a line, and answers with one when that is done."""

    async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command = (await reader.readline()).decode().strip()
        await {"kill": served.kill, "start": served.start, "restart": served.restart}[command]()
        writer.write(b"done\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(obey, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _config(tmp_path: Path, upstream: Upstream) -> tuple[str, str]:
    """Flags for a server with a route `kept`, whose answers are gone on with after a crash."""
    path = tmp_path / "headwater.toml"
    path.write_text(
        f"""
        [providers.vllm]
        base_url = "{upstream.openai_url}"

        [routes.kept]
        continue_answers = true
        [[routes.kept.targets]]
        provider = "vllm"
        """
    )
    return "--config", str(path)


async def _vitest(tmp_path: Path, *arguments: str, **environment: str) -> str:
    async with Upstream() as upstream:
        flags = _config(tmp_path, upstream)
        async with (
            Served(tmp_path, openai_url=upstream.openai_url, flags=flags) as served,
            _control(served) as control,
        ):
            return await _run(
                *("npx", "--no-install", "vitest", "run", *arguments),
                HEADWATER_URL=served.url,
                HEADWATER_CONTROL=str(control),
                **environment,
            )


@pytest.mark.node
async def test_units_cover_the_package() -> None:
    """Its own tests; vitest fails below the thresholds of coverage in clients/js/vitest.config.ts."""
    await _run("npm", "run", "--silent", "coverage")


@pytest.mark.node
async def test_the_core_keeps_its_budget() -> None:
    assert "everything: " in await _run("npm", "run", "--silent", "size")


@pytest.mark.node
async def test_against_the_server_in_node(tmp_path: Path) -> None:
    await _vitest(tmp_path, "test/server/node.test.ts")


@pytest.mark.node
async def test_the_built_package_works_in_plain_node(tmp_path: Path) -> None:
    """What `npm pack` would ship, found by its name and run without a bundler."""
    built = tmp_path / "node_modules" / "headwater"
    await _run("npx", "--no-install", "tsc", "-p", "tsconfig.build.json", "--outDir", str(built / "dist"))
    (built / "package.json").write_text((CLIENT / "package.json").read_text("utf-8"), "utf-8")
    script = tmp_path / "ask.mjs"
    script.write_text(
        """
        import { createClient } from "headwater";
        const messages = [{ role: "user", content: "Hello" }];
        const client = createClient({ baseUrl: process.env.HEADWATER_URL });
        const stream = client.start({ model: "replay/welcome", messages });
        const { phase, text } = await stream.done;
        console.log(phase, text.length > 20);
        """,
        "utf-8",
    )
    async with Served(tmp_path) as served:
        assert await _run("node", str(script), HEADWATER_URL=served.url) == "done true\n"


@pytest.mark.browser
async def test_in_chromium(tmp_path: Path) -> None:
    chromium = find("chromium")
    assert chromium is not None
    await _vitest(tmp_path, "test/server/browser.test.ts", HEADWATER_CHROMIUM=str(chromium))
