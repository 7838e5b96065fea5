from __future__ import annotations

from pathlib import Path

import pytest

from headwater.config import load_settings
from headwater.runtime_identity import open_identity


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"jwt_issuer": "https://id.example"}, "jwt_issuer has no effect"),
        ({"jwt_secret": "s" * 32}, "tokens that were issued for another service are accepted"),
        ({"jwt_secret": "s" * 32, "jwt_audience": "us"}, ""),
    ],
)
async def test_what_is_weak_or_in_vain_is_told_at_the_start(
    values: dict[str, str], said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator who set it believes that it protects."""
    await open_identity(load_settings(data_dir=tmp_path, **values)).close()
    assert (said in caplog.text) if said else not caplog.text
    assert "s" * 32 not in caplog.text
