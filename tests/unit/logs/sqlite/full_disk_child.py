"""A process whose files may not grow beyond a limit, as on a full disk. Exits with 0 when all went as it should.

Usage: full_disk_child.py DATA_DIR. A limit on the file size is the one full disk that needs no privileges.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

from headwater.errors import LogUnavailable
from headwater.events import Text, encode_segment
from headwater.logs import SqliteLog
from headwater.streams.log import FROM_START, Append, StreamRecord

LIMIT_BYTES = 400_000


async def main(data_dir: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, resource.RLIM_INFINITY))
    log = await SqliteLog.open(data_dir)
    streams = [f"s{number}" for number in range(10)]
    seq, failures = 0, 0
    while failures < 3:
        segment = encode_segment([Text("x" * 1_000)])
        group = [Append(s, seq, 1, segment, StreamRecord(id=s, created_ms=1) if seq == 0 else None) for s in streams]
        try:
            outcomes = await log.commit(group)
        except LogUnavailable:
            failures += 1
            await check(log, streams, seq)
            continue
        assert list(outcomes) == [None] * len(group)
        seq += 1
    assert seq > 5, "it should have been possible to write something"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert list(await log.commit(group)) == [None] * len(group)
    await check(log, streams, seq + 1)
    await log.close()
    log = await SqliteLog.open(data_dir)
    await check(log, streams, seq + 1)
    await log.close()


async def check(log: SqliteLog, streams: list[str], seq: int) -> None:
    """All streams have as many events as were acknowledged: nothing of a failed group is there."""
    for stream in streams:
        part = await log.read(stream, FROM_START, max_bytes=2**40)
        assert part is not None
        assert part.record.next_seq == len(part.events) == seq


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
