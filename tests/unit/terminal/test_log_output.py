"""The log of a server: its level, its format, and which secrets it knows."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.config import load_settings
from headwater.telemetry.redaction import HIDDEN
from headwater.terminal.log_output import log_output, secrets_of

TABLE = """
[providers.house]
type = "openai"
base_url = "http://127.0.0.1:9"
api_key = "env:HOUSE_ACCESS"
headers = { x-team = "plain", authorization = "env:HOUSE_HEADER" }
"""


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("", "uvicorn", "alembic")]
    before = [one.level for one in loggers]
    yield
    for one, level in zip(loggers, before, strict=True):
        one.setLevel(level)


def test_lines_are_json_without_what_is_secret() -> None:
    output = io.StringIO()
    settings = load_settings(log_format="json", api_keys="first-long-key,second-long-key", log_level="info")
    with log_output(settings, {"OPENAI_API_KEY": "an-upstream-key"}, output):
        logging.getLogger("headwater.x").info("with %s", "second-long-key", extra={"stream_id": "s1", "key": 1})
        logging.getLogger("headwater.x").debug("too little")
        logging.getLogger("uvicorn").info("too much")
        logging.getLogger("other").warning("an-upstream-key failed")
    logging.getLogger("headwater.x").warning("after the end")
    told = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [one["event"] for one in told] == [f"with {HIDDEN}", f"{HIDDEN} failed"]
    assert (told[0]["stream_id"], told[0]["level"], told[1]["logger"]) == ("s1", "info", "other")


def test_console_is_the_default_and_debug_tells_all() -> None:
    output = io.StringIO()
    with log_output(load_settings(log_level="debug", log_lines_per_minute=2), {}, output):
        for number in range(4):
            logging.getLogger("headwater.x").debug("n %d", number)
    lines = [line for line in output.getvalue().splitlines() if "headwater.x" in line]
    assert ["n 0" in lines[0], "n 1" in lines[1], "2 lines like this were left out" in lines[2]] == [True] * 3
    assert "[debug" in lines[0]


def test_secrets_are_those_of_settings_variables_and_tables(tmp_path: Path) -> None:
    (tmp_path / "h.toml").write_text(TABLE)
    settings = load_settings(config=str(tmp_path / "h.toml"), admin_keys="admin-one", jwt_secret="j" * 40)
    environ = {"MY_TOKEN": "t1", "GROQ_API_KEY": "g1,g2", "HOUSE_ACCESS": "h1", "HOUSE_HEADER": "h2", "PATH": "/bin"}
    found = set(secrets_of(settings, environ)) - {""}
    assert found == {"admin-one", "j" * 40, "t1", "g1", "g2", "h1", "h2"}
