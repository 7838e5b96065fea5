"""Documents read for real, in a process: what comes, what is refused, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import uvloop

from headwater.documents import reading as reading_module
from headwater.documents.reading import Progress, Reading, ReadLimits, Splitting, read_document
from headwater.documents.splitting import Cut
from headwater.documents.worker import CutsPart, TextPart, frame
from headwater.errors import DocumentRefused, ReaderFailed

from .files import encrypted_pdf, long_pdf, pdf, word

LIMITS = ReadLimits()


def children() -> list[psutil.Process]:
    """Readers of documents, also dead ones. This process has other children, which are nothing to kill: PostgreSQL."""
    return [process for process in psutil.Process().children() if _reads(process)]


def _reads(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE or "headwater.documents.worker" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = children()
    yield
    assert [process for process in children() if process not in before] == []


@pytest.fixture(scope="module")
def long() -> bytes:
    return long_pdf(300)


async def read(
    content: bytes,
    name: str = "",
    limits: ReadLimits = LIMITS,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Reading:
    return await read_document(content, name=name, limits=limits, splitting=Splitting(400, 50), on_progress=on_progress)


async def test_a_pdf_of_300_pages(long: bytes) -> None:
    told: list[Progress] = []
    reading = await read(long, "long.pdf", on_progress=told.append)
    assert (reading.pages, reading.media_type) == (300, "application/pdf")
    assert all(reading.text[piece.start : piece.end] == piece.text for piece in reading.pieces)
    firsts = {}
    for piece in reading.pieces:
        if piece.text.startswith("Page "):
            firsts[piece.page] = piece.text.split()[1]
    assert firsts == {page: str(page) for page in range(1, 301)}
    pages = [p.done for p in told if p.stage == "extraction"]
    assert pages == sorted(pages)
    assert (pages[0], pages[-1]) == (0, 300)
    assert {(p.total, p.unit) for p in told if p.stage == "extraction"} == {(300, "page")}
    assert told[-1] == Progress("chunking", len(reading.pieces), len(reading.pieces), "passage")


async def test_word_has_sections() -> None:
    reading = await read(word(), "a.docx")
    assert reading.pages == 0
    assert {piece.page for piece in reading.pieces} == {None}
    assert [piece.section for piece in reading.pieces] == ["Rivers"]


async def test_a_large_text_in_all_planes() -> None:
    text = "Ελληνικά 漢字 😀 words. " * 50_000
    reading = await read(text.encode(), "a.txt")
    assert reading.text == text.strip()
    assert all(reading.text[piece.start : piece.end] == piece.text for piece in reading.pieces)
    assert reading.pieces[-1].end == len(reading.text)


@pytest.mark.parametrize(
    ("content", "reason", "status"),
    [
        (b"\x89PNG\r\n", "unsupported_type", 415),
        (encrypted_pdf("user"), "encrypted", 422),
        (pdf([""]), "no_text", 422),
        (b"%PDF-1.4 nothing", "damaged", 422),
    ],
)
async def test_refusals(content: bytes, reason: str, status: int) -> None:
    with pytest.raises(DocumentRefused) as caught:
        await read(content)
    assert (caught.value.reason, caught.value.http_status) == (reason, status)


async def test_too_large_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")
    with pytest.raises(DocumentRefused) as caught:
        await read(b"12345", limits=ReadLimits(max_bytes=4))
    assert (caught.value.reason, caught.value.http_status) == ("too_large", 413)


async def test_time_that_is_up(long: bytes) -> None:
    with pytest.raises(DocumentRefused) as caught:
        await read(long, limits=ReadLimits(timeout_s=0.2))
    assert caught.value.reason == "timed_out"
    assert caught.value.message == "it could not be read in 0.2 s"


async def test_a_caller_that_is_cancelled(long: bytes) -> None:
    begun = asyncio.Event()
    task = asyncio.ensure_future(read(long, on_progress=lambda _: begun.set()))
    await begun.wait()
    assert len(children()) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == []


async def test_a_caller_that_is_cancelled_at_once(long: bytes) -> None:
    task = asyncio.ensure_future(read(long))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == []


async def test_a_progress_that_raises(long: bytes) -> None:
    def fail(_: Progress) -> None:
        raise ValueError("the caller's own")

    with pytest.raises(ValueError, match="the caller's own"):
        await read(long, on_progress=fail)


async def test_a_timeout_of_the_caller_is_the_callers(long: bytes) -> None:
    def fail(_: Progress) -> None:
        raise TimeoutError("the caller's own")

    with pytest.raises(TimeoutError, match="the caller's own"):
        await read(long, on_progress=fail)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGKILL, ""), (signal.SIGTERM, ""), (signal.SIGSEGV, "damaged"), (signal.SIGXCPU, "timed_out")],
)
async def test_a_worker_that_is_killed(long: bytes, number: int, reason: str) -> None:
    def kill(progress: Progress) -> None:
        if progress.done == 0:
            children()[0].send_signal(number)

    with pytest.raises((DocumentRefused, ReaderFailed)) as caught:
        await read(long, on_progress=kill)
    if reason:
        assert isinstance(caught.value, DocumentRefused)
        assert caught.value.reason == reason
    else:
        assert isinstance(caught.value, ReaderFailed)
        assert caught.value.retryable


def use(monkeypatch: pytest.MonkeyPatch, directory: Path, code: str) -> None:
    """Another program in the worker's place."""
    program = directory / "program"
    program.write_text(f"#!{sys.executable}\nimport sys, os, time\nout = sys.stdout.buffer\n{code}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


async def test_a_program_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ReaderFailed, match="No such file"):
        await read(b"words")


async def test_a_worker_that_falls_silent_and_does_not_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use(monkeypatch, tmp_path, "os.close(1); time.sleep(600)")
    monkeypatch.setattr(reading_module, "_EXIT_S", 0.05)
    with pytest.raises(ReaderFailed):
        await read(b"x")


async def test_a_worker_that_complains_without_end_and_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    use(monkeypatch, tmp_path, "sys.stderr.write('noise' * 100_000 + 'the end'); sys.exit(3)")
    with pytest.raises(ReaderFailed) as caught:
        await read(b"x" * 1_000_000)
    assert "noise" not in caught.value.message
    [record] = caplog.records
    assert "ended with 3" in record.getMessage()
    assert record.getMessage().endswith("the end")
    assert len(record.getMessage()) < 5_000


@pytest.mark.parametrize(
    "output",
    [
        b"\xff\xff\xff\xff",
        b"\0\0\0\x02no",
        frame(TextPart("x" * 101)),
        frame(TextPart("x")) + frame(CutsPart([Cut(0, 1), Cut(0, 1)])),
        frame(TextPart("x"))[:-1],
    ],
)
async def test_a_worker_that_a_document_took_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: bytes
) -> None:
    rest = "" if output == frame(TextPart("x"))[:-1] else "; time.sleep(1000)"
    use(monkeypatch, tmp_path, f"out.write({output!r}); out.flush(){rest}")
    with pytest.raises(ReaderFailed):
        await read(b"x", limits=ReadLimits(max_characters=100))


async def test_the_worker_does_not_know_the_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    seen = tmp_path / "seen"
    use(monkeypatch, tmp_path, f"open({str(seen)!r}, 'w').write(repr(sorted(os.environ)))")
    with pytest.raises(ReaderFailed):
        await read(b"x")
    assert "PATH" in seen.read_text()
    assert "KEY" not in seen.read_text()


async def test_many_at_once() -> None:
    readings = await asyncio.gather(*(read(f"words {n}".encode(), "a.txt") for n in range(6)))
    assert [reading.text for reading in readings] == [f"words {n}" for n in range(6)]


def test_on_the_loop_of_the_server(long: bytes) -> None:
    async def use_both() -> None:
        assert (await read(b"words", "a.txt")).text == "words"
        begun = asyncio.Event()
        task = asyncio.ensure_future(read(long, on_progress=lambda _: begun.set()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(DocumentRefused):
            await read(b"%PDF-1.4 nothing")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(use_both())
    assert os.getpid()
