"""The worker's work in this process, and what only a real process shows: its limits, and its parent's end."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import msgspec
import psutil
import pytest

from headwater.documents.extraction.records import Progress, ReadLimits
from headwater.documents.splitting import Cut, Splitting
from headwater.documents.worker import (
    HEAD_BYTES,
    MAX_FRAME_BYTES,
    PROGRESS_INTERVAL_S,
    Advance,
    CutsPart,
    Finished,
    Message,
    Order,
    Refused,
    TextPart,
    Throttle,
    forbid,
    frame,
    frame_length,
    receive_order,
    resource_limits,
    work,
)

from .files import changed_word, long_pdf, pdf

WORKER = (sys.executable, "-m", "headwater.documents.worker")


def order(content: bytes, name: str = "", limits: ReadLimits | None = None) -> Order:
    return Order(name, "", limits or ReadLimits(), Splitting(100, 10), len(content))


def worked(content: bytes, name: str = "", limits: ReadLimits | None = None) -> list[Message]:
    told: list[Message] = []
    work(order(content, name, limits), content, told.append)
    return told


def parse(output: bytes) -> list[Message]:
    messages: list[Message] = []
    while output:
        end = HEAD_BYTES + frame_length(output[:HEAD_BYTES])
        messages.append(msgspec.msgpack.decode(output[HEAD_BYTES:end], type=Message))
        output = output[end:]
    return messages


def test_text_and_cuts_come_in_parts() -> None:
    content = b"some words. " * 20_000
    told = worked(content, "a.txt")
    text = "".join(message.text for message in told if isinstance(message, TextPart))
    cuts = [cut for message in told if isinstance(message, CutsPart) for cut in message.cuts]
    assert text == content.decode().rstrip()
    assert len([message for message in told if isinstance(message, TextPart)]) == 4
    assert len([message for message in told if isinstance(message, CutsPart)]) > 1
    assert cuts[0].start == 0
    assert cuts[-1].end == len(text)
    assert told[-1] == Finished("text/plain", 0)


def test_a_document_with_pages() -> None:
    told = worked(pdf(["a", "b"]))
    assert told[-1] == Finished("application/pdf", 2)
    assert CutsPart([Cut(0, 4, 1)]) in told
    assert Advance(Progress("extraction", 2, 2, "page")) in told


@pytest.mark.parametrize(
    ("content", "name", "reason", "detail"),
    [
        (b"\0", "a.txt", "unsupported_type", ""),
        (b"%PDF-1.7\n", "a.pdf", "damaged", "PdfStreamError at _utils.py:"),
        (changed_word({"word/document.xml": b"<"}), "a.docx", "damaged", "ExpatError at docx.py:"),
        (b"PK\x03\x04", "a.docx", "damaged", "BadZipFile at zipfile"),
        (b"[" * 100_000, "a.json", "damaged", "RecursionError at json_text.py:"),
    ],
)
def test_what_libraries_raise_is_not_told(content: bytes, name: str, reason: str, detail: str) -> None:
    [last] = worked(content, name)
    assert isinstance(last, Refused)
    assert last.reason == reason
    assert last.detail.startswith(detail) if detail else not last.detail
    assert "Traceback" not in last.message
    assert "/" not in last.message


def test_memory_that_ends_is_told() -> None:
    told: list[Message] = []

    def send(message: Message) -> None:
        told.append(message)
        if isinstance(message, TextPart):
            raise MemoryError  # noqa: TRY004 -- what a library raises where memory ends

    work(order(b"x", "a.txt"), b"x", send)
    assert isinstance(told[-1], Refused)
    assert told[-1].reason == "expands_too_much"


def test_an_order_that_is_cut_short() -> None:
    whole = frame(order(b"words")) + b"words"
    assert receive_order(io.BytesIO(whole)) == (order(b"words"), b"words")
    for end in range(len(whole)):
        with pytest.raises(EOFError):
            receive_order(io.BytesIO(whole[:end]))


def test_a_frame_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="too long"):
        frame_length((MAX_FRAME_BYTES + 1).to_bytes(HEAD_BYTES, "big"))


def test_progress_is_throttled_but_never_the_last() -> None:
    now_s = 100.0
    told: list[Message] = []
    throttle = Throttle(told.append, lambda: now_s)

    def tell(numbers: Sequence[int], stage: str = "extraction") -> list[int]:
        told.clear()
        for number in numbers:
            throttle(Progress("extraction" if stage == "extraction" else "chunking", number, 9, "page"))
        return [message.progress.done for message in told if isinstance(message, Advance)]

    assert tell([0, 1, 2]) == [0]
    now_s += PROGRESS_INTERVAL_S
    assert tell([3, 4]) == [3]
    assert tell([9]) == [9]
    assert tell([1, 2, 9], "chunking") == [1, 9]


def test_the_limits_and_what_is_forbidden() -> None:
    limits = resource_limits(ReadLimits(timeout_s=0.5, max_memory_bytes=7))
    assert limits == {"RLIMIT_AS": (7, 7), "RLIMIT_CPU": (1, 3), "RLIMIT_FSIZE": (0, 0), "RLIMIT_CORE": (0, 0)}
    forbid("open", ("a", "r", 0))
    for event in ("socket.connect", "subprocess.Popen", "os.system", "os.posix_spawn"):
        with pytest.raises(PermissionError):
            forbid(event, ())


def test_a_process_answers_in_frames_and_is_silent_otherwise() -> None:
    content = pdf(["words"])
    done = subprocess.run(WORKER, input=frame(order(content)) + content, capture_output=True, check=False)
    # The end of the input, which says that the parent is gone, may be seen first.
    assert done.returncode in (0, 1)
    assert done.stderr == b""
    assert all(isinstance(message, Advance | TextPart | CutsPart | Finished) for message in parse(done.stdout))


def test_a_process_without_an_order_just_ends() -> None:
    done = subprocess.run(WORKER, input=b"\0\0", capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def run_open(content: bytes, limits: ReadLimits) -> tuple[int, list[Message]]:
    with subprocess.Popen(WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(frame(order(content, "a.html", limits)) + content)
        process.stdin.flush()
        output = process.stdout.read()
        process.stdin.close()
        return process.wait(), parse(output)


def test_the_kernel_ends_it_when_its_cpu_time_is_up() -> None:
    # Quadratic in native code, where no Python code can look at a clock.
    code, told = run_open(b"<x>" * 200_000 + b"<p>" * 200_000, ReadLimits(timeout_s=1))
    assert code == -signal.SIGXCPU
    assert told == []


def test_memory_is_limited() -> None:
    code, told = run_open(b"<p>x" * 600_000, ReadLimits(max_memory_bytes=200 * 1024 * 1024))
    # Of what comes first where memory ends, some libraries say that it did, and some crash.
    assert code == 0 or -code in (signal.SIGSEGV, signal.SIGABRT)
    assert [message.reason for message in told if isinstance(message, Refused)] == ["expands_too_much"] * (code == 0)


def test_it_ends_when_nobody_waits_for_it() -> None:
    # Headings take it seconds in which it says nothing, so that no broken pipe can end it.
    content = b"- a\n" * 200_000
    with subprocess.Popen(WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        output, _ = process.communicate(frame(order(content, "a.md")) + content)
    assert (process.returncode, output) == (1, b"")


PARENT = """
import asyncio, psutil, sys
from headwater.documents.reading import ReadLimits, Splitting, read_document
content = sys.stdin.buffer.read()
def told(_):
    print(psutil.Process().children()[0].pid, flush=True)
asyncio.run(read_document(content, name="", limits=ReadLimits(), splitting=Splitting(), on_progress=told))
"""


def test_it_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen((sys.executable, "-c", PARENT), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(long_pdf(150))
        parent.stdin.close()
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.nice() == min(os.nice(0) + 19, 19)
        parent.kill()
        gone, alive = psutil.wait_procs([child], timeout=20)
        assert not alive
        assert gone == [child]
