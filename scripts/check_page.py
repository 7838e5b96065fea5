"""Fails when the built chat page's first load is larger than its budget, or its HTML would run into its own policy.

The first load is what the HTML names: scripts, what they import at once (Vite lists it as `modulepreload`), styles and
icons. What is imported later (code highlighting, mathematics, dialogs) is not in it.
"""

from __future__ import annotations

import gzip
import re
import sys
from html.parser import HTMLParser

from build_page import PAGE_FILES

FIRST_LOAD_BYTES = 200 * 1024
PAGES = ("index.html", "dashboard.html")


class Head(HTMLParser):
    """Addresses that a page loads by itself, and what the policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        address = told.get("src") or (told.get("href") if tag == "link" else None)
        if tag == "script" and not address:
            self.faults.append("an inline script")
        if tag == "style" or "style" in told or any(name.startswith("on") for name in told):
            self.faults.append(f"an inline style or handler in <{tag}>")
        if address is not None:
            self.loads.append(address)


def faults_of(name: str) -> list[str]:
    page = PAGE_FILES / name
    head = Head()
    head.feed(page.read_text("utf-8"))
    faults = [*head.faults]
    total = len(gzip.compress(page.read_bytes(), mtime=0))
    for address in head.loads:
        if not re.fullmatch(r"\./[\w./-]+", address):
            faults.append(f"{address} is not an address beside the page")
            continue
        total += len(gzip.compress((PAGE_FILES / address).read_bytes(), mtime=0))
    print(f"{name}: first load {total / 1024:.1f} KiB gzip")
    if total > FIRST_LOAD_BYTES:
        faults.append(f"{total} bytes are more than {FIRST_LOAD_BYTES}")
    return [f"{name}: {fault}" for fault in faults]


if __name__ == "__main__":
    if not PAGE_FILES.is_dir():
        sys.exit("the page is not built: scripts/build_page.py builds it")
    sys.exit("\n".join(fault for name in PAGES for fault in faults_of(name)) or 0)
