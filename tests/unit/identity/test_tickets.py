"""Tickets as texts: what they hold, when they end, and that nobody else can make one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import jwt
import pytest

from headwater.errors import InputError, StoreUnavailable, TokenRefused
from headwater.identity import IdentitySettings, Principal
from headwater.identity.tickets import FILE_NAME, Tickets

from .kit import ManualClock

ANN = Principal(
    tenant="org:acme/user:ann",
    scopes=frozenset({"chat", "admin"}),
    organization="acme",
    user="ann",
    organizations=frozenset({"b", "a"}),
)
SECRET = "a ticket secret of 32 bytes or more"


def tickets(clock: ManualClock, directory: Path | None = None, **settings: Any) -> Tickets:
    return Tickets(IdentitySettings(**settings), directory, clock)


def refused(maker: Tickets, text: str, *, path: str = "/v1/x", resumes: bool = False) -> str:
    with pytest.raises(TokenRefused) as caught:
        maker.read(text, path=path, resumes=resumes)
    return caught.value.message


def test_a_ticket_is_its_principal_without_administration(clock: ManualClock) -> None:
    maker = tickets(clock)
    ticket = maker.issue(ANN)
    assert (ticket.until_ms, ticket.resume_ms) == (clock.ms + 60_000, clock.ms + 3_600_000)
    found = maker.read(ticket.text, path="/any", resumes=False)
    assert (found.tenant, found.organization, found.project, found.user, found.key_id) == (
        "org:acme/user:ann", "acme", "", "ann", "",
    )  # fmt: skip
    assert (found.scopes, found.organizations, found.static) == (["chat"], ["a", "b"], False)


def test_a_first_request_has_a_minute_and_one_that_resumes_an_hour(clock: ManualClock) -> None:
    maker = tickets(clock)
    text = maker.issue(ANN).text
    clock.advance(59)
    assert maker.read(text, path="/", resumes=False)
    clock.advance(1)
    assert refused(maker, text) == "the ticket has expired"
    assert maker.read(text, path="/", resumes=True)
    clock.advance(3540)
    assert refused(maker, text, resumes=True) == "the ticket has expired"


def test_a_shorter_time_may_be_asked_for_and_no_longer_one(clock: ManualClock) -> None:
    maker = tickets(clock)
    assert maker.issue(ANN, ttl_s=5).until_ms == clock.ms + 5000
    for ttl_s in (0, -1, 60.1):
        with pytest.raises(InputError) as caught:
            maker.issue(ANN, ttl_s=ttl_s)
        assert caught.value.param == "ttl_s"


def test_a_ticket_for_one_path_opens_no_other(clock: ManualClock) -> None:
    maker = tickets(clock)
    text = maker.issue(ANN, path="/v1/x").text
    assert maker.read(text, path="/v1/x", resumes=False)
    for path in ("/v1/x/", "/v1/X", "/v1/x/y", "/v1", ""):
        assert refused(maker, text, path=path) == "the ticket is for another path"


def test_what_is_no_ticket(clock: ManualClock) -> None:
    maker = tickets(clock, ticket_secret=SECRET)
    text = maker.issue(ANN).text
    claims = jwt.decode(text, options={"verify_signature": False})
    strange = [
        "",
        "x",
        "é.é.é",
        text[:-2],
        text + "x",
        "x" * 9000,
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, SECRET, algorithm="HS256"),  # the secret itself signs nothing
        tickets(clock, ticket_secret=SECRET + "!").issue(ANN).text,
        tickets(clock).issue(ANN).text,
    ]
    assert {refused(maker, one) for one in strange} == {"the ticket is not valid"}


def test_a_token_with_other_contents_is_no_ticket(clock: ManualClock) -> None:
    maker = tickets(clock)
    good = jwt.decode(maker.issue(ANN).text, options={"verify_signature": False})
    for changed in ({"aud": "other"}, {"t": 5}, {"b": "x"}, {"s": None}):
        assert refused(maker, jwt.encode(good | changed, maker._key, algorithm="HS256")) == "the ticket is not valid"


def test_a_ticket_fits_an_address(clock: ManualClock) -> None:
    crowd = Principal(tenant="t", scopes=ANN.scopes, organizations=frozenset(f"org{n:060}" for n in range(200)))
    with pytest.raises(InputError, match="too long"):
        tickets(clock).issue(crowd)


def test_the_key_outlives_the_process_and_is_nobody_else_s(tmp_path: Path, clock: ManualClock) -> None:
    directory = tmp_path / "data"
    text = tickets(clock, directory).issue(ANN).text
    file = directory / FILE_NAME
    assert file.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in directory.iterdir()] == [FILE_NAME]
    assert tickets(clock, directory).read(text, path="/", resumes=False)
    assert file.read_bytes() not in text.encode()


def test_a_key_that_others_can_read_is_closed(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    tickets(clock, tmp_path)
    (tmp_path / FILE_NAME).chmod(0o644)
    with caplog.at_level(logging.WARNING):
        tickets(clock, tmp_path)
    assert "could be read by others" in caplog.text
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_cut_key_is_replaced_and_a_left_over_is_no_hindrance(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"short")
    (tmp_path / f"{FILE_NAME}.new").write_bytes(b"left")
    tickets(clock, tmp_path)
    assert len((tmp_path / FILE_NAME).read_bytes()) == 32
    assert [one.name for one in tmp_path.iterdir()] == [FILE_NAME]


def test_a_key_that_cannot_be_kept(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        tickets(clock, tmp_path / "file")
