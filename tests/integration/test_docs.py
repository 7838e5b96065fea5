"""The code that README and tutorial show runs as shown."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from starlette.testclient import TestClient

from headwater.events import decode_event, text_of
from headwater.sse import Parser

ROOT = Path(__file__).parent.parent.parent


def _shown(page: str, containing: str) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return next(block for block in blocks if containing in block)


def _text(body: bytes) -> str:
    return text_of(decode_event(message.data) for message in Parser().feed(body))


def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> ModuleType:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shown_app.py").write_text(code)
    spec = importlib.util.spec_from_file_location("shown_app", tmp_path / "shown_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/library.md"])
def test_the_library_example_streams_and_resumes(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = _module(tmp_path, monkeypatch, _shown(page, "hw.respond(lambda"))
    with TestClient(module.app) as client:
        whole = client.get("/answers/first", params={"question": "why"}).content
        rest = client.get("/answers/first", params={"question": "why"}, headers={"Last-Event-ID": "1.1"}).content
    seen = [message for message in Parser().feed(whole) if message.id in ("1.0", "1.1")]
    assert len(seen) == 2
    assert _text(whole).startswith("You asked: why. ")
    assert _text(whole) == text_of(decode_event(message.data) for message in seen) + _text(rest)
    assert whole.endswith(b'data: {"type":"done","reason":"stop"}\n\n')


def test_the_stop_button_stops_and_refuses_with_a_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "docs/tutorial/library.md"
    module = _module(tmp_path, monkeypatch, _shown(page, "hw.respond(lambda") + _shown(page, "hw.cancel("))
    with TestClient(module.app) as client:
        stream = client.get("/answers/first", params={"question": "why"}).headers["x-stream-id"]
        assert client.post(f"/streams/{stream}/stop").json() == {"status": "done"}
        unknown = client.post("/streams/no-such/stop")
    assert unknown.status_code == 404
    assert unknown.json() == {"error": {"code": "stream_not_found", "message": "no such stream"}}


PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_shown_code_compiles(page: str) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE):
        compile(block, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
