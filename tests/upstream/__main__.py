"""`python -m tests.upstream --port 0`: the scripted model server as a process; its URL is the first line printed."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys

from . import Upstream


async def serve(host: str, port: int) -> None:
    async with Upstream(host=host, port=port) as upstream:
        sys.stdout.write(f"{upstream.url}\n")
        sys.stdout.flush()
        await upstream.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments.host, arguments.port))


if __name__ == "__main__":
    main()
