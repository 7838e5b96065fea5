"""`headwater check`: every record of a data directory against its checksum, while no server runs on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console

from ..config import load_settings
from ..encryption import Sealer
from ..errors import ConfigError, LogUnavailable
from ..integrity.findings import MAX_TOLD, Report
from ..logs.sqlite.checking import check_log
from ..logs.sqlite.ownership import Ownership
from ..routing.store import check_routes
from ..runtime_encryption import open_sealer
from ..store.checking import check_store
from ..telemetry.history import check_figures
from .exits import FAILED, FINE


def check(*, config: str = "", data_dir: str = "", as_json: bool = False) -> int:
    """Exit code 1: something is damaged. Raises `ConfigError`, `LogInUse`, `LogUnavailable`."""
    settings = load_settings(config=config or None, data_dir=data_dir or None)
    if not settings.data_dir.is_dir():
        raise ConfigError(f"there is no data directory {settings.data_dir}")
    report = look_at(settings.data_dir, open_sealer(settings))
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        _tell(report, settings.data_dir)
    return FAILED if report.findings else FINE


def look_at(data_dir: Path, sealer: Sealer | None = None) -> Report:
    """Everything, with nobody else at work on it; what is sealed is opened, too, where there is a key.

    Raises `LogInUse`, `LogUnavailable`.
    """
    report = Report()
    ownership = Ownership(data_dir)
    try:
        check_log(data_dir, report, sealer)
        check_store(data_dir, report, sealer)
        check_figures(data_dir, report)
        check_routes(data_dir, report)
    except OSError as exc:
        raise LogUnavailable(f"{data_dir} cannot be read: {exc.strerror}") from exc
    finally:
        ownership.release()
    return report


def lines_of(report: Report) -> Iterator[str]:
    """What is damaged, as people read it."""
    for finding in report.findings[:MAX_TOLD]:
        yield ": ".join(part for part in (finding.file, finding.item, finding.problem) if part)
    if len(report.findings) > MAX_TOLD:
        yield f"… and {len(report.findings) - MAX_TOLD} more: --json tells all"


def _tell(report: Report, data_dir: Path) -> None:
    console = Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True)
    for line in lines_of(report):
        console.print(line)
    counts = ", ".join(f"{number:,} {what}" for what, number in report.counts.items()) or "nothing"
    result = f"{len(report.findings)} damaged" if report.findings else "no damage"
    console.print(f"{data_dir}: {counts}; {result}")
