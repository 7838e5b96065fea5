"""The description of the monitor's routes, made from the structs that make their answers."""

from __future__ import annotations

from ..telemetry.figures import Summary
from ..telemetry.series import TimeSeries
from .connection_shapes import ConnectionList, StreamConnection, StreamMetrics
from .monitor_shapes import AlertList, LiveFigures, StreamTimeline
from .openapi_parts import ALWAYS, STREAM_ID, describe_answer, describe_operation

CONNECTION_BODIES = (ConnectionList, StreamConnection, StreamMetrics)
BODIES = (Summary, TimeSeries, AlertList, LiveFigures, StreamTimeline)
"""For the schemas of the description."""

SUMMARY = describe_operation({200: describe_answer("The figures.", "Summary")}, ALWAYS)
SERIES = describe_operation({200: describe_answer("The figures over time.", "TimeSeries")}, ALWAYS)
ALERTS = describe_operation({200: describe_answer("The alerts.", "AlertList")}, ALWAYS)
LIVE = describe_operation(
    {
        200: describe_answer(
            "Events `metadata`, each with all of `LiveFigures` as its `data`, every two seconds; the newest at once.",
            headers=STREAM_ID,
            sse=True,
        )
    },
    (*ALWAYS, 503),
)
_TEXT = {"schema": {"type": "string"}}
PROMETHEUS = describe_operation(
    {
        200: describe_answer("The metrics, as docs/reference/metrics.md lists them.")
        | {"content": {"text/plain": _TEXT, "application/openmetrics-text": _TEXT}}
    },
    ALWAYS,
)
TIMELINE = describe_operation({200: describe_answer("The stream over time.", "StreamTimeline")}, (*ALWAYS, 404, 503))

_LOOKING = (*ALWAYS, 404, 503)
CONNECTIONS = describe_operation({200: describe_answer("The connections.", "ConnectionList")}, (*ALWAYS, 503))
CONNECTION = describe_operation({200: describe_answer("The connection.", "StreamConnection")}, _LOOKING)
CONNECTION_METRICS = describe_operation({200: describe_answer("The figures.", "StreamMetrics")}, _LOOKING)
CLOSE_CONNECTION = describe_operation(
    {200: describe_answer("The connection, `disconnected`, or as it had ended.", "StreamConnection")}, _LOOKING
)
