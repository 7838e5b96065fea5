"""Items of SDKs, as objects and as plain dicts: what is missing, or another type, is never an error here."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydantic import BaseModel

from headwater.events import Usage
from headwater.providers.foreign import added, count, field, plain, text

FIELDS = {"id": "a", "number": 3, "nothing": None, "flag": True, "less": -1}


class Model(BaseModel):
    id: str = "a"
    nothing: str | None = None


@pytest.mark.parametrize("item", [FIELDS, SimpleNamespace(**FIELDS)])
def test_fields_are_read_by_key_or_by_attribute(item: object) -> None:
    assert [field(item, name) for name in ("id", "nothing", "missing")] == ["a", None, None]
    assert [text(item, name) for name in ("id", "number", "nothing", "missing")] == ["a", "", "", ""]
    assert [count(item, name) for name in ("number", "id", "flag", "less", "missing")] == [3, 0, 0, 0, 0]


def test_an_item_as_json() -> None:
    assert plain({"id": "a", "nothing": None}) == plain(Model()) == {"id": "a"}
    assert plain("a text has no fields") is None


def test_usage_of_several_answers_is_one() -> None:
    one = Usage(1, 2, reasoning_tokens=1, cached_tokens=1)
    assert added([one]) is one
    assert added([one, Usage(10, 20)]) == Usage(11, 22, reasoning_tokens=1, cached_tokens=1)
