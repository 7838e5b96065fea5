"""Every cell of the dialect table is these very bytes (see `cells` for how to write them anew)."""

from __future__ import annotations

import pytest

from headwater.dialects import DIALECTS
from headwater.events import EVENT_TYPES

from .cells import CELLS, GOLDEN, NAMES, cell


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_cell(dialect: str, name: str) -> None:
    assert cell(dialect, name) == (GOLDEN / dialect / f"{name}.sse").read_bytes()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_golden_file_is_left_over(dialect: str) -> None:
    assert {path.stem for path in (GOLDEN / dialect).iterdir()} == set(NAMES)


def test_every_event_type_has_a_cell() -> None:
    shown = {type(event) for events in CELLS.values() for event in events}
    assert shown == set(EVENT_TYPES)
