from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .subjects import SUBJECTS, FullLog, Reopen, Subject


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test runs on every log; those that open it a second time on every log that keeps anything."""
    if "subject" in metafunc.fixturenames:
        must_keep = "reopen" in metafunc.fixturenames
        names = [name for name, subject in SUBJECTS.items() if subject.durable or not must_keep]
        metafunc.parametrize("subject", [SUBJECTS[name] for name in names], ids=names)


@pytest.fixture
async def log(subject: Subject, tmp_path: Path) -> AsyncIterator[FullLog]:
    opened = await subject.open(tmp_path / "data")
    yield opened
    await opened.close()


@pytest.fixture
async def reopen(subject: Subject, log: FullLog, tmp_path: Path) -> AsyncIterator[Reopen]:
    """Close the log and open it again."""
    opened: list[FullLog] = [log]

    async def close_and_open() -> FullLog:
        await opened[-1].close()
        opened.append(await subject.open(tmp_path / "data"))
        return opened[-1]

    yield close_and_open
    await opened[-1].close()
