"""What ended streams have used reaches the budgets."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from headwater.events import JsonObject, StreamId, Usage
from headwater.identity import IdentitySettings, Meter, Meters, OpenedStore
from headwater.runtime_chat import _Counting
from headwater.store import open_store
from headwater.store.database import database_url
from headwater.streams import Ended, StreamRecord
from tests.unit.identity.kit import ManualClock

RECORD = StreamRecord(StreamId("s"), 0)


@pytest.mark.parametrize(
    ("metadata", "cost"),
    [
        (None, 0.0),
        ({"cost": {"amount": 0.5, "currency": "USD"}}, 0.5),
        ({"cost": {"amount": 2}}, 2.0),
        ({"cost": {"amount": "much"}}, 0.0),
        ({"cost": "much"}, 0.0),
    ],
)
async def test_a_stream_that_has_ended_counts_with_its_tokens_and_its_cost(
    metadata: JsonObject | None, cost: float, tmp_path: Path
) -> None:
    """Metadata come from a producer, which may be an application's own: what is no amount costs nothing."""
    store = await open_store(database_url(None, tmp_path))
    clock = ManualClock()
    meters = Meters(OpenedStore(store), IdentitySettings(), clock)
    counting = _Counting(meters)
    await counting.count(RECORD, ["key:1"])
    assert (await meters.standings([Meter("key:1")]))[0].used_tokens == 0
    ended = Ended("done", clock.ms, Usage(3, 4), metadata=metadata)
    for _ in range(2):
        await counting.count(msgspec.structs.replace(RECORD, ended=ended), ["key:1"])
    [standing] = await meters.standings([Meter("key:1")])
    assert (standing.used_tokens, standing.used_cost) == (7, cost)
    await store.close()
