"""Plug-ins: found by their entry points, and told apart from what only claims to be one."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import (
    ConfigError,
    HeadwaterError,
    InputError,
    ProviderError,
    ProviderProtocolError,
    ProviderRejected,
    ProviderTruncated,
    UnsupportedField,
)
from headwater.events import Done, Event, Text, Usage
from headwater.providers import HttpProvider, HttptoolsTransport
from headwater.providers.discovery import Surroundings, find_providers
from headwater.providers.options import ProviderOptions
from headwater.providers.plugins import GROUP, plugin, plugin_names
from headwater.request import ChatRequest
from headwater.tables import ProviderTable
from tests.conformance.providers.kit import KeepingWriter

from .lines import LineServer

TEMPLATE = Path(__file__).parents[3] / "examples" / "provider_plugin"
OPTIONS = ProviderOptions(name="mine", base_url="http://h", api_key="k", headers={"x-team": "t"})
BODY = rb"""+Hel
+lo \u2014 "w"\n
#12 34
.stop
""".replace(b'"w"', b'\\"w\\"')
EVENTS = [Text("Hel"), Text('lo \u2014 "w"\n'), Usage(12, 34), Done("stop")]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `pip install` leaves packages: modules and a dist-info on the path. Entry points are added to the file."""
    info = tmp_path / "a_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a-plugin\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return info / "entry_points.txt"


def declare(entry_points: Path, **named: str) -> None:
    lines = [f"{name} = {value}" for name, value in named.items()]
    entry_points.write_text("\n".join([f"[{GROUP}]", *lines, ""]))


@pytest.fixture
def template(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The template, with the entry points that its own pyproject declares."""
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text())["project"]
    declare(installed, **project["entry-points"][GROUP])
    monkeypatch.syspath_prepend(str(TEMPLATE))
    import line_provider  # type: ignore[import-not-found, unused-ignore]

    yield line_provider
    del sys.modules["line_provider"]


def test_without_plug_ins_there_are_none() -> None:
    assert plugin_names() == []
    assert plugin("line") is None


def test_only_the_one_that_is_asked_for_is_imported(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "good_one.py").write_text("class P:\n    def decoder(self): ...\ndef make(options): return [P()]\n")
    declare(installed, good="good_one:make", bad="no_such_module:make")
    assert plugin_names() == ["bad", "good"]
    make = plugin("good")
    assert make is not None
    assert len(make(OPTIONS)) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import no_such_module", "does not load: ModuleNotFoundError"),
        ("raise RuntimeError('two\\nlines')", "does not load: RuntimeError: two lines"),
        ("other = 1", "does not load: AttributeError"),
        ("make = 3", "is not callable"),
        ("def make(): ...", "failed: TypeError"),
        ("def make(options): return None", "made a NoneType, which is no provider"),
        ("def make(options): return []", "made a list, which is no provider"),
        ("def make(options): return [1]", "made a list, which is no provider"),
        ("def make(options): raise KeyError('x')", "failed: KeyError"),
    ],
)
def test_a_broken_plug_in_is_told_by_its_name(installed: Path, tmp_path: Path, code: str, expected: str) -> None:
    module = f"broken_{abs(hash(code))}"
    (tmp_path / f"{module}.py").write_text(code)
    declare(installed, broken=f"{module}:make")
    with pytest.raises(ConfigError) as caught:
        make = plugin("broken")
        assert make is not None
        make(OPTIONS)
    message = str(caught.value)
    assert "the provider plug-in broken" in message
    assert expected in message
    assert "\n" not in message


def test_a_plug_in_that_fails_does_not_tell_its_secrets(installed: Path, tmp_path: Path) -> None:
    declare(installed, talking="talking:make")
    (tmp_path / "talking.py").write_text(
        "def make(options):\n    raise ValueError(f'{options.api_key} {options.headers}')"
    )
    make = plugin("talking")
    assert make is not None
    with pytest.raises(ConfigError) as caught:
        make(ProviderOptions(name="mine", api_key="sk-0123456789", headers={"x-key": "hush-hush", "x-on": "1"}))
    assert caught.value.message == "the provider plug-in talking failed: ValueError: *** {'x-key': '***', 'x-on': '1'}"
    assert caught.value.__cause__ is None


def test_what_a_plug_in_says_of_its_settings_is_kept(installed: Path, tmp_path: Path) -> None:
    code = "from headwater.errors import ConfigError\ndef make(options): raise ConfigError('no port')\n"
    (tmp_path / "picky_one.py").write_text(code)
    declare(installed, picky="picky_one:make")
    make = plugin("picky")
    assert make is not None
    with pytest.raises(ConfigError, match=r"^no port$"):
        make(OPTIONS)


# The template.


def test_the_template_is_small() -> None:
    assert len((TEMPLATE / "line_provider.py").read_text().splitlines()) <= 150


async def test_the_template_answers_as_a_table_says(template: ModuleType) -> None:
    """From the table to the events, over a real socket."""
    async with LineServer(BODY) as server:
        transport = HttptoolsTransport()
        table = ProviderTable(type="line", base_url=server.url, api_key="env:LINE_KEY")
        around = Surroundings({"LINE_KEY": "k", "OLLAMA_HOST": "127.0.0.1:1"}, transport, tables={"mine": table})
        provider = (await find_providers(around))[0].provider
        assert isinstance(provider, HttpProvider)
        assert list(await provider.models()) == ["small", "large"]
        writer = KeepingWriter()
        request = ChatRequest("mine/small", [{"role": "user", "content": "hi"}], {"temperature": 0.5})
        await provider.producer(request, "small").run(writer)
        assert writer.events == EVENTS
        assert server.bodies == [{"model": "small", "turns": [["user", "hi"]], "temperature": 0.5}]
        assert server.keys == ["Bearer k", "Bearer k"]
        await transport.close()


@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_any_chunking_gives_the_same_events(sizes: list[int]) -> None:
    module = _template_module()
    decoder, events, at = module.LineDecoder(), [], 0
    while at < len(BODY):
        size = sizes[at % len(sizes)]
        events += decoder.feed(BODY[at : at + size])
        at += size
    assert events + decoder.close() == EVENTS


@given(cut=st.integers(0, len(BODY) - 1))
def test_no_cut_looks_like_success(cut: int) -> None:
    decoder = _template_module().LineDecoder()
    events: list[Event] = decoder.feed(BODY[:cut])
    assert not any(isinstance(event, Done) for event in events)
    with pytest.raises(ProviderTruncated):
        decoder.close()


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"!429 slow down", ProviderRejected),
        (b"!", ProviderProtocolError),
        (b'+"', ProviderProtocolError),
        (b"+\xff", ProviderProtocolError),
        (b"#1", ProviderProtocolError),
        (b"?", ProviderProtocolError),
    ],
)
def test_lines_that_end_an_answer(template: ModuleType, line: bytes, error: type[ProviderError]) -> None:
    decoder = template.LineDecoder()
    with pytest.raises(error) as caught:
        decoder.feed(b"+kept\n" + line + b"\n")
    assert decoder.pending == [Text("kept")]
    if isinstance(caught.value, ProviderRejected):
        assert (caught.value.http_status, caught.value.message) == (429, "slow down")


def test_what_the_template_refuses(template: ModuleType) -> None:
    protocol = template.make(ProviderOptions(name="mine"))
    image = {"type": "image_url", "image_url": {"url": "http://h/a.png"}}
    wrong: list[tuple[ChatRequest, str]] = [
        (ChatRequest("m", [{"role": "user", "content": [image]}]), "messages[0].content[0]"),
        (ChatRequest("m", [{"role": "user", "content": "x"}], {"seed": 1}), "seed"),
    ]
    for request, param in wrong:
        with pytest.raises(UnsupportedField) as caught:
            protocol.chat(request, "m")
        assert caught.value.param == param
    with pytest.raises(InputError):
        protocol.chat(ChatRequest("m", [{"role": "robot"}]), "m")
    error: HeadwaterError = protocol.error(503, {}, b"busy\n")
    assert (error.http_status, error.message) == (503, "busy")
    with pytest.raises(ProviderProtocolError):
        protocol.decoder().feed(b"+" + b"x" * 2_000_000)


def _template_module() -> ModuleType:
    import importlib.util

    spec = importlib.util.spec_from_file_location("line_template", TEMPLATE / "line_provider.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", [TEMPLATE / "README.md", TEMPLATE.parents[1] / "docs/how-to/add-a-provider.md"])
def test_the_pages_install_it_where_make_serve_runs(page: Path) -> None:
    commands = [line for line in page.read_text("utf-8").splitlines() if line.strip().endswith("/provider_plugin")]
    assert len(commands) == 1
    assert "uv pip install --python .venv/bin/python ./" in commands[0]
