"""`headwater serve`: the settings, the runtime, the server, and a banner that says what came of them."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from rich.console import Console
from rich.markup import escape

from .._version import __version__
from ..config import Settings, load_settings, variable_warnings
from ..errors import ConfigError, LogError, StoreUnavailable
from ..providers.discovery import BUILT_IN
from ..runtime import Runtime, open_runtime
from ..server.handoff import HttpLimits
from ..server.page import is_built
from ..server.serving import Bind, Server, listen, loop_factory, raise_descriptor_limit
from ..streams import RecoveryReport
from .log_output import log_output


def serve(flags: dict[str, Any]) -> None:
    """Runs until SIGINT or SIGTERM. Raises `ConfigError` for whatever keeps it from starting."""
    settings = load_settings(**flags).check_exposure()
    with log_output(settings, os.environ):
        ignored = variable_warnings(settings, os.environ)
        for warning in (*settings.warnings(), *ignored, raise_descriptor_limit(settings.max_streams)):
            if warning is not None:
                logging.getLogger("headwater").warning("%s", warning)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    bind = Bind(settings.host, settings.port)
    # The port comes first: where it is taken, the data directory stays untouched.
    with closing(listen(bind)) as listening:
        try:
            async with open_runtime(settings, listens=True) as runtime:
                limits = HttpLimits(max_header_bytes=settings.max_header_bytes, send_timeout_s=settings.send_timeout_s)
                server = Server(
                    runtime.app, runtime.hub, bind, limits=limits, ready=lambda url: _announce(url, runtime)
                )
                await server.serve([listening])
        except (LogError, StoreUnavailable) as exc:
            raise ConfigError(exc.message) from exc


def _announce(url: str, runtime: Runtime) -> None:
    # What start-up made lives as long as the process: a full collection that walked it each time stopped the loop for
    # about 60 ms (measured at 1,000 streams, where it was the p99 of the added latency).
    gc.collect()
    gc.freeze()
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    console.print(f"[bold]headwater {__version__}[/bold]  {url}")
    for name, text in banner(url, runtime):
        console.print(f"  [dim]{name:<11}[/dim]", escape(text), sep="")


def banner(url: str, runtime: Runtime) -> list[tuple[str, str]]:
    """What an operator wants to see at start, as names and texts. Holds no secret."""
    settings = runtime.settings
    recovered = runtime.recovered
    lines = [
        ("process", str(os.getpid())),
        ("providers", _providers(runtime.registry.names)),
        ("log", f"sqlite in {settings.data_dir}" if settings.log == "sqlite" else "memory: nothing survives a restart"),
        ("durability", settings.durability),
        ("chat", _database(settings)),
        ("access", _access(settings, keys_kept=runtime.keys_kept)),
        *([("page", _page(url))] if settings.page else []),
        ("API", f"{url}/v1, documented at {url}/api-docs"),
    ]
    if recovered.continued or recovered.restarted or recovered.interrupted:
        lines.append(("recovered", _recovered(recovered)))
    return lines


def _page(url: str) -> str:
    if not is_built():
        return "not built here: `make serve` and scripts/build_page.py build it; packages come with it"
    return f"{url}/ in a browser, the dashboard at {url}/dashboard"


def _database(settings: Settings) -> str:
    """Without the address, which may hold a password."""
    if settings.database_url is not None:
        return "conversations and documents in database_url"
    kept = f"sqlite in {settings.data_dir}" if settings.log != "memory" else "memory: nothing survives a restart"
    return f"conversations and documents: {kept}"


def _providers(names: Sequence[str]) -> str:
    if set(names) <= set(BUILT_IN):
        return (
            "none found: `extractive` answers from uploaded documents, `replay` plays recordings;"
            " set OPENAI_API_KEY or OPENAI_BASE_URL, or start Ollama"
        )
    return ", ".join(names)


def _recovered(report: RecoveryReport) -> str:
    """Only what happened, as `1 stream continued, 2 ended as interrupted`."""
    counts = {
        "continued": report.continued,
        "restarted": report.restarted,
        "ended as interrupted": report.interrupted,
    }
    (first, number), *others = ((done, number) for done, number in counts.items() if number)
    head = f"{number} stream{'' if number == 1 else 's'} {first}"
    return ", ".join([head, *(f"{number} {done}" for done, number in others)])


def _access(settings: Settings, *, keys_kept: bool = False) -> str:
    """`keys_kept`: whether there are keys in the database."""
    if settings.keyed or keys_kept:
        ways = [_keys(settings)] if settings.api_keys or settings.admin_keys else []
        ways += ["keys of the database"] if keys_kept else []
        ways += ["bearer tokens (JWT)"] if settings.jwt_secret.get_secret_value() or settings.jwt_public_key else []
        ways += ["bearer tokens (JWT)"] if settings.jwt_jwks_url else []
        return "; ".join(ways)
    if settings.exposed:
        return "anonymous: whoever reaches this address may use it"
    return "single user: this machine only, no key"


def _keys(settings: Settings) -> str:
    admins = len(settings.admin_keys)
    number = len(settings.api_keys) + admins
    keys = f"{number} API key{'s' if number > 1 else ''}"
    return f"{keys}, {admins} of them for administration" if admins else keys
