"""Which request and which stream a line of the log is about: told by the context in which it is written.

A task takes over the context that it was made in, so the lines of a stream also name the request that began it.
"""

from __future__ import annotations

from contextvars import ContextVar

REQUEST_ID: ContextVar[str] = ContextVar("headwater_request_id", default="")
TRACE_PARENT: ContextVar[str] = ContextVar("headwater_trace_parent", default="")
"""The request's `traceparent` (https://www.w3.org/TR/trace-context/), where traces are on."""
STREAM_ID: ContextVar[str] = ContextVar("headwater_stream_id", default="")
