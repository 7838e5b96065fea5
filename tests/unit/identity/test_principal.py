"""Tenants: whose names differ share nothing."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.identity import SINGLE_USER, Meter, Principal, tenant_path
from headwater.identity.principal import ANONYMOUS, MAX_TENANT_CHARACTERS, SCOPES, key_tenant

NAME = st.text(st.sampled_from("ab/:%~\x00\ud800é23AF"), max_size=6) | st.text(max_size=300)
NAMES = st.tuples(NAME, NAME, NAME)


def test_a_path_reads_as_it_is_written() -> None:
    assert tenant_path("acme", "web", "ann") == "org:acme/project:web/user:ann"
    assert tenant_path("acme", "", "ann") == "org:acme/user:ann"
    assert tenant_path(user="ann@example.org") == "user:ann@example.org"
    assert tenant_path() == ""
    assert tenant_path("a/user:b") == "org:a%2Fuser%3Ab"
    assert tenant_path("Zürich\n") == "org:Zürich%0A"


@given(NAMES, NAMES)
@example(("a", "", "b"), ("a/user:b", "", ""))
@example(("a%2F", "", ""), ("a/", "", ""))
@example(("x" * 300, "", ""), ("x" * 301, "", ""))
def test_different_names_never_meet(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (tenant_path(*one) == tenant_path(*other)) is (one == other)


@given(NAMES)
def test_a_path_fits_its_column_and_any_database(names: tuple[str, str, str]) -> None:
    path = tenant_path(*names)
    assert len(path) <= MAX_TENANT_CHARACTERS
    path.encode()
    assert "\x00" not in path


def test_a_long_path_cannot_be_spelled_by_a_short_one() -> None:
    long = tenant_path("x" * 500)
    assert len(long) == MAX_TENANT_CHARACTERS
    assert tenant_path(long.removeprefix("org:")) != long
    assert tenant_path("x" * 500) == long


def test_a_key_s_own_tenant_is_nobody_s_path() -> None:
    assert key_tenant("1") == "key:1"
    assert not tenant_path("1").startswith("key:")


@pytest.mark.parametrize(
    ("scopes", "scope", "reads", "may"),
    [
        ({"chat"}, "chat", False, True),
        ({"chat"}, "documents", True, False),
        ({"read"}, "chat", False, False),
        ({"read"}, "chat", True, True),
        ({"read"}, "admin", True, False),
        ({"admin"}, "chat", True, False),
    ],
)
def test_what_scopes_allow(scopes: set[str], scope: str, reads: bool, may: bool) -> None:
    assert Principal(tenant="t", scopes=frozenset(scopes)).may(scope, reads=reads) is may


def test_who_belongs_to_an_organisation_administers_no_other() -> None:
    assert SINGLE_USER.global_admin
    assert not ANONYMOUS.global_admin
    assert not Principal(tenant="t", scopes=SCOPES, organization="acme").global_admin
    assert not Principal(tenant="t", scopes=SCOPES, project="web").global_admin


def test_which_meters_limit() -> None:
    assert not Meter("key:1").limited
    assert all(
        Meter("key:1", **{name: 1}).limited
        for name in ("requests_per_minute", "tokens_per_minute", "budget_tokens", "budget_cost")
    )


def test_which_meters_want_to_know_what_was_used() -> None:
    assert Meter("key:1").settles
    assert not Meter("user:a", requests_per_minute=1).settles
    assert Meter("user:a", tokens_per_minute=1).settles
    assert Meter("user:a", budget_cost=0.1).settles
