"""Bits are flipped all over a data directory: each is found, or changes nothing that is read."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_asyncio

from headwater.streams.log import StreamRecord
from headwater.terminal.check import look_at
from tests.conformance.logs.stories import Story

from .data_kit import fill, read_log, read_rows

FLIPS = 10
# What SQLite makes anew, and what is for people.
WITHOUT_EFFECT = ("-shm", "lock")


class Filled(NamedTuple):
    directory: Path
    stories: list[Story]
    log: dict[str, Any]
    rows: dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["closed", "killed"])
async def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Filled]:
    directory = tmp_path_factory.mktemp("filled") / "data"
    stories = await fill(directory, crashed=request.param == "killed")
    assert look_at(directory).findings == []
    shutil.copytree(directory, copy := directory.with_name("read"))
    yield Filled(directory, stories, await read_log(copy, stories), read_rows(copy))


def flipped(filled: Filled, name: str, place: tuple[int, int], tmp_path: Path) -> Path:
    """A copy of the directory in which one bit of a file is another."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(filled.directory, copy)
    data = bytearray((copy / name).read_bytes())
    at, bit = place
    data[at] ^= 1 << bit
    (copy / name).write_bytes(data)
    return copy


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(240)
async def test_a_flipped_bit_is_found_or_changes_nothing(filled: Filled, tmp_path: Path) -> None:
    chosen = random.Random(20_261_127)
    found = 0
    for file in sorted(filled.directory.iterdir()):
        size = file.stat().st_size
        for _ in range(FLIPS if size else 0):
            place = chosen.randrange(size), chosen.randrange(8)
            findings = look_at(flipped(filled, file.name, place, tmp_path)).findings
            found += bool(findings)
            if file.name == "routes.json":
                assert findings or file.read_bytes()[place[0]] in b" \n", place
                continue
            rows = read_rows(flipped(filled, file.name, place, tmp_path))
            log = await read_log(flipped(filled, file.name, place, tmp_path), filled.stories)
            if file.name.endswith(WITHOUT_EFFECT):
                assert (findings, rows, log) == ([], filled.rows, filled.log), (file.name, place)
            if not findings:
                assert (rows, log) == (filled.rows, filled.log), (file.name, place)
            assert_only_told(filled, log, (file.name, place))
    assert found > 10


def assert_only_told(filled: Filled, log: dict[str, Any], where: object) -> None:
    """What a stream gives is what was written, or an error: never something else. A new epoch says what may be lost."""
    for stream, given in log.items():
        if isinstance(given, str) or given == filled.log[stream] or given[0] is None:
            continue
        record, events = given
        before, written = filled.log[stream]
        assert isinstance(record, StreamRecord)
        assert record.epoch > before.epoch, (where, stream)
        assert events == written[: len(events)], (where, stream)
        ended = before.ended if record.ended else None
        shorter = msgspec.structs.replace(before, epoch=record.epoch, next_seq=len(events), ended=ended)
        assert record == shorter, (where, stream)
