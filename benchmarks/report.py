"""The tables of a run as text, with the machine they were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .scenarios import Figure, Table


def machine(server_core: int, load_cores: Sequence[int]) -> dict[str, str]:
    """What a figure needs beside it to mean anything."""
    packages = ("uvloop", "httptools", "uvicorn", "fastapi", "msgspec", "aiohttp", "openai")
    return {
        "cpu": _cpu_model(),
        "cores": f"{os.cpu_count()} (server on {server_core}, load on {', '.join(map(str, sorted(set(load_cores))))})",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages),
        "nginx": _nginx_version(),
    }


def busy_cores() -> float:
    """How many cores other work keeps busy now: the noise that a run starts with (one minute's load average)."""
    return os.getloadavg()[0]


def render(table: Table) -> str:
    """A title and an aligned table; first column left, the others right."""
    lines = [list(table.columns), *(list(row) for row in table.rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    texts = [
        "  ".join([line[0].ljust(widths[0]), *(line[i].rjust(widths[i]) for i in range(1, len(widths)))])
        for line in lines
    ]
    rule = "-" * len(texts[0])
    problems = [f"! {problem}" for problem in table.problems]
    return "\n".join([table.title, rule, texts[0], rule, *texts[1:], *problems, ""])


def render_figures(figures: Sequence[Figure]) -> str:
    """Measured against the budgets of the design."""
    rows = [
        (figure.name, _number(figure.value), figure.unit, _number(figure.limit), _number(figure.goal), judge(figure))
        for figure in figures
    ]
    return render(Table("Budgets", ("figure", "measured", "unit", "budget", "goal", ""), rows))


def judge(figure: Figure) -> str:
    """`goal`, `within`, `OVER`, or nothing where the design sets no number."""

    def meets(bound: float | None) -> bool:
        return bound is not None and (figure.value >= bound if figure.at_least else figure.value <= bound)

    if figure.limit is None and figure.goal is None:
        return ""
    if meets(figure.goal):
        return "goal"
    return "within" if meets(figure.limit) else "OVER"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _nginx_version() -> str:
    binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if binary is None:
        return "not installed (rows and ratio left out)"
    answer = subprocess.run([binary, "-v"], capture_output=True, text=True, timeout=10, check=False)
    return answer.stderr.strip().rpartition("/")[2]
