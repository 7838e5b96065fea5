"""Lines: their form, their ids, how many of a kind."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from headwater.log_context import REQUEST_ID, STREAM_ID
from headwater.telemetry.log_lines import MAX_KINDS, RateLimit, make_formatter, note_context
from headwater.telemetry.redaction import HIDDEN, Redactor


def record(message: str = "hello %s", *args: object, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("headwater.x", level, "", 0, message, args or None, None)
    made.created = 1_800_000_000.25
    vars(made).update(extra)
    return made


def test_json_is_one_object_a_line_with_all_fields() -> None:
    formatter = make_formatter("json", Redactor(["hunter2hunter2"]), colors=False)
    line = formatter.format(record("said\n%s", "hunter2hunter2", status=200, stream_id="s1"))
    assert "\n" not in line
    assert json.loads(line) == {
        "event": f"said\n{HIDDEN}", "timestamp": "2027-01-15T08:00:00.250Z", "level": "info", "logger": "headwater.x",
        "status": 200, "stream_id": "s1",
    }  # fmt: skip


def test_console_is_for_people() -> None:
    formatter = make_formatter("console", Redactor(), colors=False)
    line = formatter.format(record("hi", level=logging.WARNING, request_id="r1"))
    assert line.split() == ["2027-01-15T08:00:00.250Z", "[warning", "]", "hi", "[headwater.x]", "request_id=r1"]


@pytest.mark.parametrize("kind", ["json", "console"])
def test_an_exception_is_told_without_its_secrets(kind: str) -> None:
    made = record("failed", level=logging.ERROR)
    try:
        raise ValueError("key sk-abcdefgh12345")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = make_formatter(kind, Redactor(), colors=False).format(made)  # type: ignore[arg-type]
    assert f"ValueError: key {HIDDEN}" in line
    assert "Traceback" in line
    assert "sk-abc" not in line


def test_ids_come_from_the_context_unless_the_line_has_its_own() -> None:
    REQUEST_ID.set("r1")
    STREAM_ID.set("s1")
    told, own, nothing = record(), record(stream_id="s2"), record()
    assert note_context(told) and note_context(own)
    assert (vars(told)["request_id"], vars(told)["stream_id"], vars(own)["stream_id"]) == ("r1", "s1", "s2")
    REQUEST_ID.set("")
    STREAM_ID.set("")
    note_context(nothing)
    assert not {"request_id", "stream_id"} & vars(nothing).keys()


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_lines_of_one_kind_are_limited_and_counted() -> None:
    clock = Clock()
    limit = RateLimit(3, clock)
    assert [limit.allows(record("a %s", str(number))) for number in range(5)] == [True, True, True, False, False]
    assert limit.allows(record("b"))
    assert limit.allows(record("a %s", "0", level=logging.ERROR))
    clock.now_s += 59
    assert limit.left_out() == []
    clock.now_s += 1
    [told] = limit.left_out()
    assert told.getMessage() == "2 lines like this were left out within a minute (log_lines_per_minute): a %s"
    assert (told.name, told.levelno) == ("headwater.x", logging.INFO)
    assert limit.allows(record("a %s", "0"))
    assert limit.left_out(now=True) == []


def test_kinds_are_bounded_and_zero_sets_no_bound() -> None:
    limit = RateLimit(1, Clock())
    allowed = sum(limit.allows(record(f"text {number}")) for number in range(MAX_KINDS + 50))
    assert allowed == MAX_KINDS + 1
    [told] = limit.left_out(now=True)
    assert told.getMessage().startswith("49 lines")
    free = RateLimit(0, Clock())
    assert all(free.allows(record("a")) for _ in range(10))
    assert free.left_out(now=True) == []
