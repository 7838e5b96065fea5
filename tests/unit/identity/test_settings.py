"""Settings that cannot work, and those that are weak."""

from __future__ import annotations

import pytest

from headwater.errors import ConfigError
from headwater.identity import IdentitySettings

SECRET = "s" * 32


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"jwt_secret": SECRET, "jwt_public_key": "x"}, "only one of"),
        ({"jwt_jwks_url": "https://a", "jwt_public_key": "x"}, "only one of"),
        ({"jwt_secret": "short-secret"}, "jwt_secret must be at least 32 bytes"),
        ({"ticket_secret": "t" * 31}, "ticket_secret must be at least 32 bytes"),
        ({"ticket_ttl_s": 60, "ticket_resume_s": 59}, "must not be below"),
    ],
)
def test_what_cannot_work_is_refused_without_a_secret(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        IdentitySettings(**settings).check()
    assert said in caught.value.message
    assert "short-secret" not in caught.value.message


def test_what_is_weak_is_told() -> None:
    assert IdentitySettings().warnings() == []
    assert IdentitySettings(jwt_secret=SECRET, jwt_audience="a").warnings() == []
    assert "jwt_audience is not set" in IdentitySettings(jwt_secret=SECRET).warnings()[0]
    vain = IdentitySettings(jwt_issuer="i", jwt_audience="a").warnings()
    assert [warning.split()[0] for warning in vain] == ["jwt_issuer", "jwt_audience"]
