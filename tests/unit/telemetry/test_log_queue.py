"""The writer's thread: order, a reader that stands still, an output that fails, and the end."""

from __future__ import annotations

import io
import logging
import threading

from headwater.telemetry.log_lines import RateLimit
from headwater.telemetry.log_queue import QueuedHandler


class Output(io.StringIO):
    """Waits for `go` before each write, where it is held; fails `failures` times."""

    def __init__(self, *, held: bool = False, failures: int = 0) -> None:
        super().__init__()
        self.go, self.entered = threading.Event(), threading.Event()
        self.failures = failures
        if not held:
            self.go.set()

    def write(self, text: str) -> int:
        self.entered.set()
        self.go.wait()
        if self.failures:
            self.failures -= 1
            raise OSError("gone")
        return super().write(text)


def handler(output: Output, *, max_lines: int = 100, per_minute: int = 0) -> QueuedHandler:
    return QueuedHandler(
        output, lambda: logging.Formatter("%(levelname)s %(message)s"), max_lines=max_lines, limit=RateLimit(per_minute)
    )


def line(message: object, *args: object) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "", 0, message, args, None)


def test_lines_come_in_order_and_closing_writes_them_all() -> None:
    output = Output()
    made = handler(output)
    for number in range(50):
        made.handle(line("n %d", number))
    made.close()
    made.close()
    assert output.getvalue().splitlines() == [f"INFO n {number}" for number in range(50)]


def test_values_are_those_of_the_moment() -> None:
    output, values = Output(held=True), ["before"]
    made = handler(output)
    record = line("said %s", values)
    made.handle(record)
    values[0] = "after"
    output.go.set()
    made.close()
    assert output.getvalue() == "INFO said ['before']\n"
    # Other handlers get it as it was.
    assert record.msg == "said %s"


def test_a_reader_that_stands_still_costs_lines_and_no_time() -> None:
    output = Output(held=True)
    made = handler(output, max_lines=3)
    made.handle(line("first"))
    assert output.entered.wait(10)
    for number in range(10):
        made.handle(line("n %d", number))
    output.go.set()
    made.close()
    assert output.getvalue().splitlines() == [
        "INFO first",
        "WARNING 7 lines were dropped: the log's output fails, or is not read fast enough",
        *[f"INFO n {number}" for number in range(3)],
    ]


def test_an_output_that_never_takes_anything_does_not_hold_up_the_end(monkeypatch: object) -> None:
    import headwater.telemetry.log_queue as module

    output, before = Output(held=True), module.CLOSING_S
    module.CLOSING_S = 0.05
    try:
        made = handler(output, max_lines=1)
        for number in range(5):
            made.handle(line("n %d", number))
        made.close()
        assert output.getvalue() == ""
    finally:
        module.CLOSING_S = before
        output.go.set()


def test_an_output_that_fails_once_tells_so() -> None:
    output = Output(failures=1)
    made = handler(output)
    made.handle(line("lost"))
    made.handle(line("there"))
    made.close()
    assert output.getvalue().splitlines()[-2:] == [
        "WARNING 1 lines were dropped: the log's output fails, or is not read fast enough",
        "INFO there",
    ]


class Odd:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_values_that_have_no_text_do_not_break_the_caller() -> None:
    output = Output()
    made = handler(output)
    made.handle(line("odd %s", Odd()))
    made.handle(line("odd %d", "text"))
    made.close()
    assert output.getvalue().splitlines() == [
        "INFO odd %s (its values cannot be written: RuntimeError)",
        "INFO odd %d (its values cannot be written: TypeError)",
    ]


def test_what_was_left_out_is_told_at_the_end() -> None:
    output = Output()
    made = handler(output, per_minute=2)
    for number in range(5):
        made.handle(line("n %d", number))
    made.close()
    assert output.getvalue().splitlines() == [
        "INFO n 0",
        "INFO n 1",
        "INFO 3 lines like this were left out within a minute (log_lines_per_minute): n %d",
    ]
