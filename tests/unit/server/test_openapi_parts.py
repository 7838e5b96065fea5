from __future__ import annotations

import msgspec
import pytest

from headwater.server.openapi_parts import any_value


class Holder(msgspec.Struct):
    anything: object


class Custom:
    pass


class Slip(msgspec.Struct):
    unknown: Custom


def test_an_object_may_be_any_value() -> None:
    _, components = msgspec.json.schema_components((Holder,), schema_hook=any_value)
    assert components["Holder"]["properties"] == {"anything": {"description": "any JSON value"}}


def test_a_type_that_has_no_json_is_described_as_nothing() -> None:
    """A slip in a shape fails where the document is made, instead of promising callers any value."""
    with pytest.raises(TypeError, match="Custom"):
        msgspec.json.schema_components((Slip,), schema_hook=any_value)
