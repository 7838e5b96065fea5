from __future__ import annotations

import pytest

from headwater.errors import InputError
from headwater.providers.wire.segments import quoted, segment


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_is_another_path(name: str) -> None:
    with pytest.raises(InputError) as caught:
        segment(name, param="model")
    assert caught.value.param == "model"


def test_everything_else_is_one_segment() -> None:
    assert segment("...", param="model") == "..."
    assert segment("a/../b?c#d e", param="model") == "a%2F..%2Fb%3Fc%23d%20e"
    assert quoted("é\ud800") == "%C3%A9%3F"
