"""`parse_cursor` takes what `Cursor` prints and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.cursor import Cursor, parse_cursor


@given(st.integers(0, 10**19 - 1), st.integers(0, 10**19 - 1))
def test_what_is_printed_is_parsed(epoch: int, seq: int) -> None:
    assert parse_cursor(str(Cursor(epoch, seq))) == Cursor(epoch, seq)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "1", "1.", ".1", "-1.0", "1.-1", "1.1.1", "a.b", "1,5", " 1.5", "1.5 ", "+1.5", "1_0.5", "null"),
        *("٣.٤", "1.٤", "².5", "0x1.2", "1e3.0", "1.5\n", "1." + "9" * 20, "9" * 20 + ".1", "9" * 100_000 + ".0"),
    ],
)
def test_anything_else_is_unknown(text: str) -> None:
    """An unknown cursor must not leave a client stuck for ever (mercure #704) nor crash the worker (nchan #676)."""
    assert parse_cursor(text) is None


@given(st.text())
def test_no_text_raises(text: str) -> None:
    parsed = parse_cursor(text)
    assert parsed is None or min(parsed) >= 0
