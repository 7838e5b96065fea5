"""The `headwater` command as a person runs it: real processes, real sockets, a real terminal."""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import pty
import shlex
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from headwater import HeadwaterClient, __version__
from headwater.events import Done, Error, Start, Text, Usage, decode_event, text_of
from tests.upstream import Script, Upstream, prompt

from .processes import START_S, Served, environment, headwater, headwater_server, run

ANSWER = Script(text="Still waters run deep.", reasoning="hm hm")


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(default=ANSWER) as fake:
        yield fake


@pytest.fixture
async def server(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Served]:
    async with headwater_server(tmp_path / "data", OPENAI_BASE_URL=upstream.openai_url, OPENAI_API_KEY="k") as running:
        yield running


async def chat(server: Served, question: str, *arguments: str) -> tuple[int, str, str]:
    return await run(*headwater("chat", "--url", server.url, *arguments), stdin=question)


async def start_stream(server: Served, question: str) -> str:
    async with HeadwaterClient(server.url) as client:
        return await client.stream(messages=[{"role": "user", "content": question}]).start()


async def test_the_banner_says_what_was_found(server: Served, tmp_path: Path) -> None:
    assert f"headwater {__version__}" in server.banner
    for fact in (
        server.url,
        f"process    {server.process.pid}\n",
        "openai",
        f"sqlite in {tmp_path / 'data'}",
        "commit",
        "single user",
        "/api-docs",
    ):
        assert fact in server.banner
    assert await server.stop() == 0


async def test_a_pipe_gets_the_plain_answer(server: Served) -> None:
    assert await chat(server, "hi") == (0, ANSWER.text, "")


@pytest.mark.parametrize("question", ["", " \n"])
async def test_an_empty_pipe_asks_nothing(server: Served, question: str) -> None:
    code, out, err = await chat(server, question)
    assert (code, out) == (2, "")
    assert "nothing to ask" in err
    assert err.count("\n") == 1
    async with HeadwaterClient(server.url) as client:
        assert await client.list() == []


async def test_a_pipe_tells_failures_by_its_exit_code(server: Served) -> None:
    code, out, err = await chat(server, prompt(text="one two three four", fault="cut_mid_frame", fault_after=2))
    assert code == 1
    assert out == "one two"
    assert err.startswith("provider_truncated: ")


async def test_an_unknown_model_and_a_wrong_key(tmp_path: Path) -> None:
    async with headwater_server(tmp_path, HEADWATER_API_KEYS="right", HEADWATER_REPLAY_PACE="0") as server:
        assert "1 API key" in server.banner
        assert "right" not in server.banner
        assert await chat(server, "hi") == (1, "", "headwater: no API key was given\n")
        code, _, err = await chat(server, "hi", "nonsense", "--key", "right")
        assert (code, "no model 'nonsense'" in err) == (1, True)
        ran = await run(
            *headwater("chat", "replay/welcome"),
            stdin="hi",
            env=environment(HEADWATER_URL=server.url, HEADWATER_API_KEY="right"),
        )
        assert (ran.code, ran.out[:9]) == (0, "# Welcome")


async def test_tail_shows_a_stream_to_its_end_from_any_cursor(server: Served) -> None:
    stream = await start_stream(server, prompt(text="one two three"))
    url = ("--url", server.url)
    assert await run(*headwater("tail", stream, *url)) == (0, "one two three", "")
    ran = await run(*headwater("tail", stream, "--json", *url))
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["cursor"] for line in lines] == sorted(
        (line["cursor"] for line in lines), key=lambda cursor: int(cursor.partition(".")[2])
    )
    events = [decode_event(json.dumps({k: v for k, v in line.items() if k != "cursor"})) for line in lines]
    assert isinstance(events[0], Start)
    assert text_of(events) == "one two three"
    assert isinstance(events[-3], Usage)
    assert events[-1] == Done("stop")
    rest = await run(*headwater("tail", stream, "--json", "--after", lines[-2]["cursor"], *url))
    assert [json.loads(line) for line in rest.out.splitlines()] == lines[-1:]


async def test_tail_of_an_unknown_cursor_says_so_and_replays(server: Served) -> None:
    stream = await start_stream(server, prompt(text="one two"))
    url = ("--url", server.url)
    await run(*headwater("tail", stream, *url))
    ran = await run(*headwater("tail", stream, "--after", "9.9", *url))
    assert (ran.code, ran.out) == (0, "one two")
    assert "starts again" in ran.err
    as_json = await run(*headwater("tail", stream, "--after", "9.9", "--json", *url))
    assert json.loads(as_json.out.splitlines()[0]) == {"type": "reset", "reason": "epoch_changed"}


async def test_tail_ends_with_1_for_an_error(server: Served) -> None:
    stream = await start_stream(server, prompt(text="one two three four", fault="cut_mid_frame", fault_after=2))
    ran = await run(*headwater("tail", stream, "--json", "--url", server.url))
    assert ran.code == 1
    last = json.loads(ran.out.splitlines()[-1])
    del last["cursor"]
    assert isinstance(decode_event(json.dumps(last)), Error)
    unknown = await run(*headwater("tail", "no-such", "--url", server.url))
    assert unknown == (1, "", "headwater: no such stream\n")


async def test_no_server_is_told_at_once() -> None:
    for command in ("chat", "tail"):
        arguments = ("x",) if command == "tail" else ()
        ran = await run(*headwater(command, *arguments, "--url", "http://127.0.0.1:9"), stdin="hi")
        assert ran.code == 1
        assert "no server at http://127.0.0.1:9" in ran.err
        assert ran.err.count("\n") == 1


async def test_what_keeps_a_server_from_starting_is_one_line_and_exit_code_2(server: Served, tmp_path: Path) -> None:
    """Two servers on one data directory, a port that is taken, wrong settings: refused clearly."""
    locked = tmp_path / "file"
    locked.touch()
    port = server.url.rpartition(":")[2]
    other = ("--port", "0", "--data-dir", str(tmp_path / "other"))
    cases = {
        f"in use by process {server.process.pid}": ("--port", "0", "--data-dir", str(tmp_path / "data")),
        f"port {port} on 127.0.0.1 is taken": ("--port", port, "--data-dir", str(tmp_path / "other")),
        "cannot use the data directory": ("--port", "0", "--data-dir", str(locked)),
        "can be reached by others": ("--host", "0.0.0.0", *other),
        "port: should be a valid integer": ("--port", "http"),
        "this release has memory and sqlite": ("--log", "redis", *other),
        "missing is not a directory": ("--recordings-dir", str(tmp_path / "missing"), *other),
        "'prot' is not a setting; did you mean 'port'?": ("--config", str(tmp_path / "headwater.toml"), *other),
    }
    (tmp_path / "headwater.toml").write_text("prot = 1\n")
    for said, flags in cases.items():
        ran = await run(*headwater("serve", *flags))
        assert (ran.code, ran.out) == (2, ""), ran
        assert said in ran.err
        assert ran.err.count("\n") == 1, ran.err
    assert not (tmp_path / "other").exists()


async def test_settings_from_a_file_and_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "headwater.toml"
    file.write_text('durability = "memory"\nredis_url = "redis://:secret@127.0.0.1"\nlog_level = "warning"\n')
    async with headwater_server(tmp_path / "data", "--config", str(file)) as server:
        assert "memory: nothing survives" in server.banner
        assert "redis_url is set but not used" in server.banner
        assert "secret" not in server.banner
    assert not (tmp_path / "data").exists()


async def test_variables_without_effect_are_told(tmp_path: Path) -> None:
    async with headwater_server(tmp_path, HEADWATER_API_KEY="secret", HEADWATER_HEARTBEAT="3") as server:
        warnings = [line for line in server.banner.splitlines() if "[warning" in line]
        assert len(warnings) == 2
        assert (
            "HEADWATER_HEARTBEAT is not a setting and has no effect; did you mean HEADWATER_HEARTBEAT_S?" in warnings[0]
        )
        assert "this server has no API key" in warnings[1]
        assert "secret" not in server.banner


async def test_after_a_kill_the_next_server_says_what_it_took_up(upstream: Upstream, tmp_path: Path) -> None:
    """P3, and viewers in other processes go on: `tail` reconnects by itself and says so."""
    openai = {"OPENAI_BASE_URL": upstream.openai_url, "OPENAI_API_KEY": "k"}
    async with headwater_server(tmp_path, **openai) as first:
        stream = await start_stream(first, prompt(text="one two three four", fault="hang_mid", fault_after=2))
        command = headwater("tail", stream, "--url", first.url)
        tail = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment()
        )
        assert tail.stdout is not None
        assert tail.stderr is not None
        async with asyncio.timeout(START_S):
            seen = await tail.stdout.readexactly(len("one two"))
            assert await first.stop(signal.SIGKILL) == -signal.SIGKILL
            assert "trying again in" in (await tail.stderr.readline()).decode()
            port = first.url.rpartition(":")[2]
            async with headwater_server(tmp_path, "--port", port, **openai) as second:
                said = "1 stream ended as interrupted"
                assert said in second.banner or said in await _more(second)
                out, err = await tail.communicate()
    assert (seen + out).decode() == "one two"
    assert "interrupted: " in err.decode()
    assert tail.returncode == 1


async def _more(server: Served) -> str:
    assert server.process.stderr is not None
    return (await server.process.stderr.readline()).decode()


async def test_version_help_and_wrong_usage() -> None:
    assert await run(*headwater("version")) == (0, f"headwater {__version__}\n", "")
    assert await run(*headwater("--version")) == (0, f"headwater {__version__}\n", "")
    facts = json.loads((await run(*headwater("version", "--json"))).out)
    assert facts["headwater"] == __version__
    for command in ((), ("serve",), ("chat",), ("tail",), ("version",)):
        ran = await run(*headwater(*command, "--help"))
        assert ran.code == 0, ran.err
    assert (await run(*headwater("sirve"))).code == 2
    assert (await run(*headwater("serve", "--prot", "1"))).code == 2


async def test_help_imports_nothing_that_only_commands_need() -> None:
    code = (
        "import sys, headwater.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(str({'pydantic', 'fastapi', 'httpx', 'aiohttp', 'uvicorn'} & set(sys.modules) or ''))"
    )
    ran = await run(*headwater()[:1], "-c", code)
    assert ran.err.strip() == "", ran.err


@pytest.mark.parametrize(
    ("typed", "expected"), [("headwater serve --log ", {"memory", "sqlite"}), ("headwater ta", {"tail"})]
)
async def test_shell_completion(typed: str, expected: set[str]) -> None:
    words = typed.split(" ")
    asked = {"_HEADWATER_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    script = "from headwater.cli import app; app(prog_name='headwater')"
    ran = await run(*headwater()[:1], "-c", script, env=environment(**asked))
    assert expected <= set(ran.out.split())


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self.seen = ""
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode

    async def __aenter__(self) -> Terminal:
        self._fd, theirs = pty.openpty()
        try:
            self.process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env=environment(TERM="dumb"),
                start_new_session=True,
                preexec_fn=_take_terminal,
            )
        finally:
            os.close(theirs)
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._read)
        return self

    async def __aexit__(self, *exc: object) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65_536)
        except OSError:  # the other side is gone
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
        self.seen += self._decode(data)
        self._news.set()

    async def until(self, text: str) -> str:
        """What was shown up to and with `text`, which is then past."""
        async with asyncio.timeout(START_S):
            while text not in self.seen:
                self._news.clear()
                await self._news.wait()
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


CTRL_C, CTRL_D = "\x03", "\x04"


async def test_a_conversation_on_a_terminal(server: Served, upstream: Upstream) -> None:
    async with Terminal(*headwater("chat", "--url", server.url)) as terminal:
        await terminal.until("/quit leaves")
        await terminal.until("\n> ")
        terminal.type("hello\r")
        await terminal.until("hm hm")
        await terminal.until("Still waters run deep.")
        await terminal.until("tokens")
        await terminal.until("\n> ")
        terminal.type("/model\r")
        await terminal.until("fake-1")
        await terminal.until("\n> ")
        terminal.type("/model fake-mini\r")
        await terminal.until("\n> ")
        terminal.type("and then?\r")
        await terminal.until("Still waters run deep.")
        await terminal.until("\n> ")
        terminal.type("/nonsense\r")
        await terminal.until("/quit leaves")
        terminal.type("/clear\r")
        await terminal.until("\n> ")
        terminal.type("again\r")
        await terminal.until("Still waters run deep.")
        await terminal.until("\n> ")
        terminal.type("/quit\r")
        assert await asyncio.wait_for(terminal.process.wait(), START_S) == 0
    asked = [
        [message["content"] for message in request.body["messages"]] for request in upstream.requests if request.body
    ]
    assert asked == [["hello"], ["hello", ANSWER.text, "and then?"], ["again"]]
    assert [request.body["model"] for request in upstream.requests if request.body] == [
        "fake-1",
        "fake-mini",
        "fake-mini",
    ]


async def test_a_conversation_whose_answers_go_to_a_file(server: Served, tmp_path: Path) -> None:
    """The prompt is for the person at the terminal; the file gets what the model said."""
    file = tmp_path / "answers"
    command = shlex.join(headwater("chat", "--url", server.url)) + " > " + shlex.quote(str(file))
    async with Terminal("sh", "-c", command) as terminal:
        await terminal.until("\n> ")
        terminal.type("hello\r")
        await terminal.until("\n> ")
        terminal.type(CTRL_D)
        assert await asyncio.wait_for(terminal.process.wait(), START_S) == 0
    assert file.read_text() == ANSWER.text


async def test_ctrl_c_stops_the_answer_and_ctrl_d_leaves(server: Served, upstream: Upstream) -> None:
    """P4; vercel/ai #18458, chat-ui #459: Stop is a cancel at the server, and it keeps the prompt and the answer."""
    async with Terminal(*headwater("chat", "--url", server.url)) as terminal:
        await terminal.until("\n> ")
        terminal.type(prompt(text="one two three four", fault="hang_mid", fault_after=2) + "\r")
        await terminal.until("one two")
        # The terminal echoes the question, which holds the same words, so the answer is what comes after it.
        await terminal.until("one two")
        terminal.type(CTRL_C)
        await terminal.until("(cancelled)")
        await terminal.until("\n> ")
        terminal.type(CTRL_D)
        assert await asyncio.wait_for(terminal.process.wait(), START_S) == 0
    await upstream.until(lambda: upstream.active == 0)
    async with HeadwaterClient(server.url) as client:
        [info] = await client.list()
        assert info.status == "cancelled"
        assert text_of([event async for event in client.follow(info.id) if isinstance(event, Text)]) == "one two"


async def test_a_second_ctrl_c_leaves_a_server_that_does_not_answer(server: Served) -> None:
    async with Terminal(*headwater("chat", "--url", server.url)) as terminal:
        await terminal.until("\n> ")
        terminal.type(prompt(text="one two three four", fault="hang_mid", fault_after=2) + "\r")
        await terminal.until("one two")
        await terminal.until("one two")
        server.process.send_signal(signal.SIGSTOP)
        try:
            # Two that come at once are one signal to the process.
            while terminal.process.returncode is None:
                terminal.type(CTRL_C)
                with suppress(TimeoutError):
                    await asyncio.wait_for(terminal.process.wait(), 1)
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert terminal.process.returncode == 130


async def test_ctrl_c_at_the_prompt_leaves(server: Served) -> None:
    async with Terminal(*headwater("chat", "--url", server.url)) as terminal:
        await terminal.until("\n> ")
        # The interpreter misses one that comes between the prompt and its wait for keys; people press again.
        while terminal.process.returncode is None:
            terminal.type(CTRL_C)
            with suppress(TimeoutError):
                await asyncio.wait_for(terminal.process.wait(), 1)
        assert terminal.process.returncode == 130


async def test_a_request_that_is_refused_does_not_end_the_conversation(tmp_path: Path) -> None:
    async with (
        headwater_server(tmp_path) as server,
        Terminal(*headwater("chat", "no-such-model", "--url", server.url)) as terminal,
    ):
        await terminal.until("\n> ")
        terminal.type("hello\r")
        await terminal.until("there is no model 'no-such-model'")
        await terminal.until("\n> ")
        terminal.type(CTRL_D)
        assert await asyncio.wait_for(terminal.process.wait(), START_S) == 0


async def test_ctrl_c_ends_a_tail(server: Served) -> None:
    stream = await start_stream(server, prompt(text="one two three four", fault="hang_mid", fault_after=2))
    async with Terminal(*headwater("tail", stream, "--url", server.url)) as terminal:
        await terminal.until("one two")
        terminal.type(CTRL_C)
        assert await asyncio.wait_for(terminal.process.wait(), START_S) == 130
    async with HeadwaterClient(server.url) as client:
        assert (await client.info(stream)).status == "streaming"
