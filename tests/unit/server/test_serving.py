"""Descriptors, addresses and loops."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Iterator

import pytest

from headwater.errors import ConfigError
from headwater.server.serving import Bind, listen, loop_factory, raise_descriptor_limit


@pytest.fixture
def soft_limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("soft_limit")
def test_the_soft_limit_is_lifted_and_a_low_hard_one_is_said() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    assert raise_descriptor_limit(1) is None
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    if hard != resource.RLIM_INFINITY:
        warning = raise_descriptor_limit(hard)
        assert warning is not None
        assert f"{hard} open files" in warning


def test_a_port_that_needs_privileges(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("socket.socket.bind", refuse)
    with pytest.raises(ConfigError, match="port 80 needs privileges"):
        listen(Bind(port=80))


def test_the_fast_loop_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    factory = loop_factory()
    assert factory is not None
    with asyncio.Runner(loop_factory=factory) as runner:
        assert type(runner.get_loop()).__module__.startswith("uvloop")
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is None
