from __future__ import annotations

import pytest

from headwater.identity.usage import Spent, Usage, insert_usage, sum_usage
from headwater.store import Store


@pytest.mark.parametrize("entries", [[], [Usage("s", (), 5, 0.1, 1)]])
async def test_what_counts_for_nobody_is_not_written(store: Store, entries: list[Usage]) -> None:
    """An `INSERT` without rows would write one of defaults."""
    assert await insert_usage(store, entries) == []
    assert await sum_usage(store, ["key:1"], 0) == {}


async def test_only_rows_that_are_new_are_told(store: Store) -> None:
    one = Usage("s", ("key:1", "user:t"), 5, 0.5, 10)
    assert sorted(await insert_usage(store, [one])) == [("s", "key:1"), ("s", "user:t")]
    assert await insert_usage(store, [one, Usage("r", ("key:1",), 7, 0.25, 11)]) == [("r", "key:1")]
    assert await sum_usage(store, ["key:1", "user:t", "key:2"], 10) == {
        "key:1": Spent(12, 0.75), "user:t": Spent(5, 0.5),
    }  # fmt: skip
    assert await sum_usage(store, ["key:1"], 11) == {"key:1": Spent(7, 0.25)}
