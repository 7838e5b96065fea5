"""What every test shares: programs that may be missing, and the order of the tests that kill processes.

A test that needs a program carries its marker (scripts/tools.txt). Where the program is missing the test is skipped
by name; under CI a skip is a failure, so that nothing goes unshown silently.
"""

from __future__ import annotations

import os

import pytest

from tests.postgres import postgres, postgres_url, shared_postgres_url  # noqa: F401 - fixtures
from tests.programs import ROOT, wanted

NODE_MODULES = ROOT / "tests" / "node" / "node_modules"
PAGE = ROOT / "src" / "headwater" / "server" / "page_files" / "index.html"


def _missing() -> dict[str, str]:
    """Marker → the first thing that its tests would miss here."""
    missing: dict[str, str] = {}
    for marker, program, path in wanted():
        if path is None:
            missing.setdefault(marker, f"no `{program}`")
    if not NODE_MODULES.is_dir():
        for marker in ("node", "browser"):
            missing.setdefault(marker, "no tests/node/node_modules (`make test` installs it)")
    if not PAGE.is_file():
        missing.setdefault("browser", "the page is not built (`make page` builds it)")
    return missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = _missing()
    for item in items:
        for marker in item.iter_markers():
            if marker.name in missing:
                item.add_marker(pytest.mark.skip(reason=missing[marker.name]))
        if item.get_closest_marker("chaos"):
            item.add_marker(pytest.mark.xdist_group("chaos"))


def _skips(config: pytest.Config) -> list[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return sorted(report.nodeid for report in reporter.stats.get("skipped", [])) if reporter else []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if os.environ.get("CI") and exitstatus == pytest.ExitCode.OK and _skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if skipped := _skips(config):
        verdict = "a failure under CI" if os.environ.get("CI") else "not shown on this machine"
        terminalreporter.write_line(f"SKIPPED ({verdict}): {', '.join(skipped)}", red=True)
