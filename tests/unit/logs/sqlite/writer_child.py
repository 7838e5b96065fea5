"""A process that writes into a log and says what was acknowledged, until it is killed.

Usage: writer_child.py DATA_DIR DURABILITY. Prints `STREAM NEXT_SEQ` after each acknowledged append.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from headwater.events import Done, Start, StreamId, Text, Usage, encode_segment
from headwater.logs import SqliteLog
from headwater.logs.sqlite import Limits
from headwater.streams.log import Append, Ended, StreamRecord

LIMITS = Limits(fold_rows=20, fold_streams=3, journal_rows=200, reclaim_rows=50, wal_bytes=100_000)
LENGTH = 30


def append_of(stream: str, seq: int) -> Append:
    """One event of a stream; what it is follows from its seq."""
    id = StreamId(stream)
    if seq == 0:
        start = encode_segment([Start(stream=stream, model="m", created_ms=1)])
        return Append(id, 0, 1, start, create=StreamRecord(id=id, created_ms=1, model="m"))
    if seq == LENGTH:
        ended = Ended(status="done", finished_ms=2, usage=Usage(prompt_tokens=1, completion_tokens=1))
        return Append(id, seq, 1, encode_segment([Done("stop")]), ended=ended)
    return Append(id, seq, 1, encode_segment([Text(f"{stream}:{seq} ")]))


async def main(data_dir: Path, durability: str) -> None:
    log = await SqliteLog.open(data_dir, durability="fsync" if durability == "fsync" else "commit", limits=LIMITS)
    streams = {f"s{number:05}": -number for number in range(8)}
    made = len(streams)
    while True:
        group = [append_of(stream, seq) for stream, seq in streams.items() if seq >= 0]
        assert list(await log.commit(group)) == [None] * len(group)
        sys.stdout.write("".join(f"{append.stream} {append.expected_seq + 1}\n" for append in group))
        sys.stdout.flush()
        for stream, seq in list(streams.items()):
            streams[stream] = seq + 1
            if seq == LENGTH:
                del streams[stream]
                streams[f"s{made:05}"] = 0
                made += 1


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
