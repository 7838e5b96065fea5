"""The build of the page, in a tree of its own: npm and Node are stand-ins that do what the real ones are asked for."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
NPM = """#!/bin/sh
echo "$@" >> npm.log
case "$1" in
  ci) mkdir -p node_modules; cp package-lock.json node_modules/.package-lock.json;;
  run) [ -e broken ] && exit 1
       while [ "$1" != --outDir ]; do shift; done; mkdir -p "$2"; cat web/main.ts > "$2/index.html";;
esac
"""
LOCK = {"packages": {"": {}, "node_modules/react": {"version": "19.0.0"}, "node_modules/mac": {"optional": True}}}


class Tree:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.page = root / "src" / "headwater" / "server" / "page_files"
        self.page.parent.mkdir(parents=True)
        for directory in ("scripts", "bin", "web", "clients/js/src"):
            (root / directory).mkdir(parents=True)
        for name in ("npm.py", "build_page.py", "check_page.py"):
            shutil.copy(SCRIPTS / name, root / "scripts")
        (root / "web" / "main.ts").write_text("one")
        (root / "package-lock.json").write_text(json.dumps(LOCK))
        self.program("bin/npm", NPM)
        self.node("v22.3.0")
        # No way to another Node.
        self.program("scripts/uv", "#!/bin/sh\nexit 1\n")

    def program(self, name: str, text: str) -> None:
        path = self.root / name
        path.write_text(text)
        path.chmod(0o755)

    def node(self, version: str) -> None:
        self.program("bin/node", f'#!/bin/sh\n[ "$1" = --version ] && echo {version}\nexit 0\n')

    def run(self, script: str = "build_page.py", *arguments: str) -> subprocess.CompletedProcess[str]:
        # The machine's own npm is out of sight, and its shell is not.
        tools = self.root / "tools"
        tools.mkdir(exist_ok=True)
        for tool in ("sh", "cat", "cp", "mkdir"):
            if not (tools / tool).exists():
                (tools / tool).symlink_to(shutil.which(tool) or "")
        environment = {**os.environ, "PATH": f"{self.root / 'bin'}{os.pathsep}{tools}"}
        command = [sys.executable, str(self.root / "scripts" / script), *arguments]
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    @property
    def asked(self) -> list[str]:
        """npm's commands."""
        log = self.root / "npm.log"
        return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []

    def built(self) -> str:
        return (self.page / "index.html").read_text()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_it_is_built_when_a_source_changed_and_not_again(tree: Tree) -> None:
    assert tree.run().returncode == 0
    assert (tree.built(), tree.asked) == ("one", ["ci", "run"])
    assert tree.run().returncode == 0
    (tree.root / "web" / "node_modules").mkdir()
    (tree.root / "web" / "node_modules" / "x.js").write_text("not a source")
    assert tree.run().returncode == 0
    assert tree.asked == ["ci", "run"]
    (tree.root / "web" / "main.ts").write_text("two")
    (tree.page / "left-over.js").write_text("of the build before")
    assert tree.run().returncode == 0
    # What is installed is not installed again.
    assert (tree.built(), tree.asked) == ("two", ["ci", "run", "run"])
    assert sorted(path.name for path in tree.page.iterdir()) == [".sources", "index.html"]


def test_a_changed_lock_file_is_installed_first(tree: Tree) -> None:
    tree.run()
    (tree.root / "package-lock.json").write_text(json.dumps(LOCK).replace("19.0.0", "19.0.1"))
    assert tree.run().returncode == 0
    assert tree.asked == ["ci", "run", "ci", "run"]


def test_a_build_that_fails_leaves_the_one_before(tree: Tree) -> None:
    tree.run()
    (tree.root / "broken").touch()
    (tree.root / "web" / "main.ts").write_text("two")
    failed = tree.run()
    assert (failed.returncode, tree.built()) == (1, "one")
    assert "could not be built" in failed.stderr
    tolerated = tree.run("build_page.py", "--if-possible")
    assert (tolerated.returncode, tree.built()) == (0, "one")
    assert "the page that was built before" in tolerated.stderr


@pytest.mark.parametrize("version", ["v18.20.4", "v20.18.9", ""])
def test_a_node_that_is_too_old_is_none(tree: Tree, version: str) -> None:
    tree.node(version)
    failed = tree.run("build_page.py", "--if-possible")
    assert (failed.returncode, tree.asked, tree.page.exists()) == (0, [], False)
    assert "no npm with Node 20.19" in failed.stderr
    assert "/api-docs" in failed.stderr
    assert tree.run().returncode == 1


def test_a_source_distribution_has_nothing_to_build(tree: Tree) -> None:
    shutil.rmtree(tree.root / "web")
    shutil.rmtree(tree.root / "bin")
    assert tree.run().returncode == 0
    assert tree.asked == []


def test_lint_without_npm_is_a_failure_under_ci_only(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(tree.root / "bin")
    monkeypatch.delenv("CI", raising=False)
    told = tree.run("npm.py", "run", "lint")
    assert told.returncode == 0
    assert "npm run lint: not run" in told.stderr
    monkeypatch.setenv("CI", "true")
    assert tree.run("npm.py", "run", "lint").returncode == 1


PLAIN = (
    '<!doctype html><link rel="stylesheet" href="./assets/a.css"><script type="module" src="./assets/a.js"></script>'
)


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        (PLAIN, ""),
        (f"{PLAIN}<script>1</script>", "an inline script"),
        (f'{PLAIN}<p style="color: red">', "an inline style or handler in <p>"),
        (f'{PLAIN}<p onclick="x()">', "an inline style or handler in <p>"),
        (f'{PLAIN}<script src="https://cdn.example/x.js"></script>', "is not an address beside the page"),
        (f'{PLAIN}<script src="/assets/a.js"></script>', "is not an address beside the page"),
        (PLAIN.replace("a.js", "large.js"), "bytes are more than 204800"),
    ],
)
def test_the_budget_and_the_policy_are_checked(tree: Tree, html: str, fault: str) -> None:
    (tree.page / "assets").mkdir(parents=True)
    (tree.page / "assets" / "a.js").write_text("1")
    (tree.page / "assets" / "a.css").write_text("p {}")
    (tree.page / "assets" / "large.js").write_bytes(random.Random(1).randbytes(205_000))
    (tree.page / "index.html").write_text(html)
    (tree.page / "dashboard.html").write_text(PLAIN)
    run = tree.run("check_page.py")
    assert (run.returncode, fault in run.stderr) == (1 if fault else 0, True)


def test_a_page_that_is_not_there_is_not_small(tree: Tree) -> None:
    assert "not built" in tree.run("check_page.py").stderr
