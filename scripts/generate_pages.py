"""Writes the pages that come from the code; `--check` writes nothing and fails when one is not current."""

import inspect
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from headwater import errors
from headwater.streams.lifecycle import ENDED, INITIAL, TRANSITIONS, Signal
from headwater.telemetry.families import FAMILIES

DOCS = Path(__file__).parent.parent / "docs"
NOTE = "<!-- Written by scripts/generate_pages.py from {source}; `make docs` brings it up to date. -->\n"

LIFE = """\
# The life of a stream

A stream has one status at a time. One table, `TRANSITIONS` in `headwater.streams.lifecycle`, says which signal leads
from which status to which; the server runs on that table, the tests walk it, and this page is drawn from it. A signal
that the table does not list for a status is a bug and raises `InvalidTransition`. Nothing leads out of `done`, `failed`
and `cancelled`.
"""

ERRORS = """\
# Errors

Everything that Headwater raises on purpose descends from `HeadwaterError` and carries `message` (for people, never with
a secret in it), `code` (stable, for programs), `http_status`, `retryable` (whether the same request may succeed later),
and where they apply `param` (the field at fault) and `retry_after_s`.

An error that ends a stream becomes its `error` event, whose `reason` is the `code`. One more reason exists there:
`interrupted`, for a stream that a crash cut off and that could be neither continued nor restarted. How an error looks
in each wire format is in [Dialects](dialects.md); how it looks as an HTTP answer in [HTTP API](http-api.md#errors).
"""

METRICS = """\
# Metrics

What `GET /metrics` tells; [Monitor](../how-to/monitor.md#prometheus) says who may read it and how Prometheus is set up.
`stream_*` are reference 002's names in Prometheus' form (`stream.chunks.total`), `gen_ai_*` those of OpenTelemetry's
[conventions for generative AI](https://github.com/open-telemetry/semantic-conventions-genai) with the buckets that they
recommend, `headwater_*` our own. On Linux there are `process_*` besides: CPU, memory, open files.

Counters begin at 0 with the process and are at most a second behind; a server counts what it does itself. What was not
measured is absent, never 0. Bounds of the `headwater_stream_*_seconds` buckets and of
`gen_ai_client_operation_time_per_output_chunk_seconds` (which counts when an answer has ended) are met to within 2 %,
those of the other `gen_ai_*` exactly. Models, providers and reasons are told apart up to `metrics_max_labels`; the rest
is `other`.
"""


def state_machine() -> str:
    arrows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (before, signal), after in TRANSITIONS.items():
        arrows[before, after].append(signal.name.lower())
    diagram = [f"    {before} --> {after}: {', '.join(signals)}" for (before, after), signals in arrows.items()]
    ends = [f"    {status} --> [*]" for status in sorted(ENDED)]
    meanings = [f"| `{signal.name.lower()}` | {signal.value} |" for signal in Signal]
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {INITIAL}", *diagram, *ends, "```", ""]
    return "\n".join([LIFE, *lines, "| signal | what happened |", "|---|---|", *meanings, ""])


def subclasses(root: type[errors.HeadwaterError]) -> Iterator[type[errors.HeadwaterError]]:
    yield root
    for child in root.__subclasses__():
        yield from subclasses(child)


def error_tree() -> str:
    tree = textwrap.dedent(inspect.cleandoc(errors.__doc__ or "").split("\n\n")[1])
    rows = [f"| `{e.__name__}` | `{e.code}` | {status(e)} |" for e in subclasses(errors.HeadwaterError)]
    return "\n".join([ERRORS, "```text", tree, "```", "", "| class | code | retryable |", "|---|---|---|", *rows, ""])


def status(error: type[errors.HeadwaterError]) -> str:
    if error is errors.ProviderRejected:
        return "by the upstream's status: 408, 409, 425, 429 and 5xx"
    return "yes" if error.retryable else "no"


def metrics_table() -> str:
    rows = [
        f"| `{one.name}` | {one.kind} | {' '.join(f'`{label}`' for label in one.labels)} | {one.meaning} |"
        for one in FAMILIES.values()
    ]
    return "\n".join([METRICS, "| metric | kind | labels | meaning |", "|---|---|---|---|", *rows, ""])


PAGES = {
    "explanation/state-machine.md": ("src/headwater/streams/lifecycle.py", state_machine),
    "reference/errors.md": ("src/headwater/errors.py", error_tree),
    "reference/metrics.md": ("src/headwater/telemetry/families.py", metrics_table),
}

if __name__ == "__main__":
    stale = []
    for name, (source, render) in PAGES.items():
        page, text = DOCS / name, NOTE.format(source=source) + render()
        if "--check" not in sys.argv:
            page.write_text(text, "utf-8")
        elif not page.is_file() or page.read_text("utf-8") != text:
            stale.append(name)
    if stale:
        sys.exit(f"not current: {', '.join(stale)}; run `make docs`")
