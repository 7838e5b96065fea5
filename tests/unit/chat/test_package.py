"""The package's names: had when they are asked for, and nothing before that."""

from __future__ import annotations

import pytest

from headwater import chat


def test_every_name_that_is_told_is_there() -> None:
    assert dir(chat) == sorted(chat.__all__)
    assert all(getattr(chat, name).__name__ == name for name in chat.__all__)


def test_another_name_is_none_of_ours() -> None:
    """`hasattr` and `from … import` go by this very error."""
    assert not hasattr(chat, "Settler")
    with pytest.raises(AttributeError, match=r"'headwater\.chat' has no attribute 'Settler'"):
        chat.__getattr__("Settler")
