"""Keys as texts."""

from __future__ import annotations

import hashlib

import pytest

from headwater.errors import ConfigError
from headwater.identity.keys import KeyRing, looks_like_key, new_key


def test_a_new_key_has_the_form_that_is_looked_for() -> None:
    made = new_key()
    assert looks_like_key(made.text.encode())
    assert made.text.startswith(f"{made.prefix}_")
    assert (len(made.prefix), len(made.text)) == (11, 52)
    assert made.digest == hashlib.sha256(made.text.encode()).hexdigest()
    assert len({new_key().text for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text", ["", "hw_", "sk-1234", "hw_12345678_" + "a" * 31, "hw_12345678_" + "a" * 65, "hw_1234567é_" + "a" * 40,
             "HW_12345678_" + "a" * 40, "hw_12345678_" + "a" * 40 + "\n", " hw_12345678_" + "a" * 40],
)  # fmt: skip
def test_what_is_no_key_of_ours(text: str) -> None:
    assert not looks_like_key(text.encode())


def test_a_key_has_one_owner_whether_given_raw_or_as_digest() -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    owner = KeyRing(["secret"]).owner(b"secret")
    assert owner == digest[:32]
    assert owner == KeyRing([f"sha256:{digest}"]).owner(b"secret")
    assert KeyRing(["secret"]).owner(b"Secret") is None
    assert KeyRing([f"sha256:{digest}"]).owner(digest.encode()) is None


def test_owners_differ_and_no_key_is_no_ring() -> None:
    ring = KeyRing(["one", "two"])
    assert ring.owner(b"one") != ring.owner(b"two")
    assert ring.owners == {ring.owner(b"one"), ring.owner(b"two")}
    assert not KeyRing([])


@pytest.mark.parametrize("key", ["sha256:", "sha256:zz", "sha256:" + "a" * 63, "sha256:" + "a" * 66])
def test_a_malformed_digest_is_a_configuration_error(key: str) -> None:
    with pytest.raises(ConfigError):
        KeyRing([key])
