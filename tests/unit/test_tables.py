"""Tables that hold no table: told as what they are, and not as a name without quotes."""

from __future__ import annotations

import pytest

from headwater.errors import InputError
from headwater.tables import ProviderTable, check_quotes, read_table


@pytest.mark.parametrize("value", [5, "openai", ["a"], None])
def test_what_is_no_table_is_told_by_its_type(value: object) -> None:
    check_quotes("mine", value, ProviderTable, where="providers")
    with pytest.raises(InputError, match="expected `object`") as caught:
        read_table(value, ProviderTable, where="providers.mine")
    assert caught.value.param == "providers.mine"


def test_a_name_with_a_dot_needs_quotes() -> None:
    with pytest.raises(InputError, match=r'needs quotes: \[providers."gpt-4.1"\]'):
        check_quotes("gpt-4", {"1": {"type": "openai"}}, ProviderTable, where="providers")
