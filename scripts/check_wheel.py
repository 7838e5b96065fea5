"""Builds the wheel that users get, and installs and starts it where nothing has ever seen the tree.

It has to serve the chat page, and a wheel made from the source distribution on a machine without Node has to be the
same, file by file. Run by `uv run`, whose `UV` tells where uv is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import httpx

from headwater import __version__

START_S = 60.0


def main() -> int:
    uv = os.environ.get("UV", "uv")
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        _run(uv, "build", "--quiet", "--out-dir", str(home / "dist"))
        [wheel], [sdist] = (list((home / "dist").glob(kind)) for kind in ("*.whl", "*.tar.gz"))
        (home / "nothing").mkdir()
        without_node = {**os.environ, "PATH": str(home / "nothing")}
        _run(uv, "build", "--quiet", "--wheel", "--out-dir", str(home / "again"), str(sdist), env=without_node)
        [again] = (home / "again").glob("*.whl")
        if _contents(wheel) != _contents(again):
            print("the wheel of the source distribution is another one", file=sys.stderr)
            return 1
        _run(uv, "venv", "--quiet", str(home / "venv"))
        _run(uv, "pip", "install", "--quiet", "--python", str(home / "venv" / "bin" / "python"), str(wheel))
        return _check_installed(home)


def _check_installed(home: Path) -> int:
    headwater = str(home / "venv" / "bin" / "headwater")
    told = subprocess.run([headwater, "version"], cwd=home, capture_output=True, text=True, check=True).stdout
    print(f"   {told.strip()}")
    if __version__ not in told:
        return 1
    log = home / "log"
    with log.open("wb") as output:
        command = [headwater, "serve", "--port", "0", "--data-dir", str(home / "data")]
        server = subprocess.Popen(command, cwd=home, stderr=output)
    try:
        url = _address(log, server)
        page, dashboard = httpx.get(f"{url}/"), httpx.get(f"{url}/dashboard")
    finally:
        server.terminate()
        server.wait(30)
    served = page.status_code == dashboard.status_code == 200 and 'id="root"' in page.text
    print("   the page is served" if served else "   there is no page")
    return 0 if served else 1


def _address(log: Path, server: subprocess.Popen[bytes]) -> str:
    """From the banner, whose first line ends with it."""
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.poll() is None:
        text = log.read_text("utf-8")
        if "\n" in text and "http://" in text:
            return "http://" + text.partition("http://")[2].split()[0]
        time.sleep(0.1)
    raise SystemExit(f"the installed server did not start: {log.read_text('utf-8')}")


def _contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _run(*command: str, env: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=env)


if __name__ == "__main__":
    sys.exit(main())
