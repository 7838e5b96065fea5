"""Hatchling, which builds the pages before a wheel or a source distribution (PEP 517).

A source distribution carries the built pages, so that a wheel of it needs no Node. Where the machine has no npm, a
Node from a Python wheel is asked for. An editable install builds nothing: `make serve` does.
"""

from __future__ import annotations

import subprocess
from typing import Any

import build_page
import npm
from hatchling import build as hatchling
from hatchling.build import *  # noqa: F403 -- the hooks of editable installs, and those for metadata

Config = dict[str, Any] | None


def get_requires_for_build_wheel(config_settings: Config = None) -> list[str]:
    return [*hatchling.get_requires_for_build_wheel(config_settings), *_node()]


def get_requires_for_build_sdist(config_settings: Config = None) -> list[str]:
    return [*hatchling.get_requires_for_build_sdist(config_settings), *_node()]


def build_wheel(wheel_directory: str, config_settings: Config = None, metadata_directory: str | None = None) -> str:
    _build()
    name: str = hatchling.build_wheel(wheel_directory, config_settings, metadata_directory)
    return name


def build_sdist(sdist_directory: str, config_settings: Config = None) -> str:
    _build()
    name: str = hatchling.build_sdist(sdist_directory, config_settings)
    return name


def _node() -> list[str]:
    return [npm.WHEEL] if not build_page.is_current() and npm.own() is None else []


def _build() -> None:
    if not build_page.is_current():
        try:
            build_page.build()
        except (npm.NoNpm, subprocess.CalledProcessError) as exc:
            raise SystemExit(f"the page of web/ could not be built: {exc}") from exc
