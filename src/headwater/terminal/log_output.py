"""Where `headwater serve` writes its log: standard error, as the settings say."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TextIO

from pydantic import SecretStr

from ..config import Settings
from ..telemetry.log_lines import RateLimit, make_formatter
from ..telemetry.log_queue import QueuedHandler
from ..telemetry.redaction import Redactor

_SECRET_ENDS = ("_KEY", "_KEYS", "_TOKEN", "_SECRET", "_PASSWORD")
_REFERENCE = "env:"


@contextmanager
def log_output(settings: Settings, environ: Mapping[str, str], output: TextIO | None = None) -> Iterator[None]:
    """All loggers write to `output` while this is open."""
    output = output or sys.stderr
    redactor = Redactor(secrets_of(settings, environ))
    handler = QueuedHandler(
        output,
        partial(make_formatter, settings.log_format, redactor, colors=output.isatty()),
        max_lines=settings.log_queue_lines,
        limit=RateLimit(settings.log_lines_per_minute),
    )
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    if settings.log_level == "info":
        # What uvicorn tells at this level, our banner tells better.
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        # The first start's migrations are no news.
        logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()


def secrets_of(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """What must not be in any line: the settings' secrets, and what variables hold that are named like one."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, SecretStr):
                yield one.get_secret_value()
    for name, text in environ.items():
        if name.upper().endswith(_SECRET_ENDS):
            yield from text.split(",")
    for table in settings.providers.values():
        for text in (table.api_key, *table.headers.values()):
            if text.startswith(_REFERENCE):
                yield environ.get(text.removeprefix(_REFERENCE), "")
