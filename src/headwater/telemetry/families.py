"""The metrics of `/metrics`: names, kinds, labels, meanings. The exposition and its page of the reference are made
from this table.

`stream_*` are reference 002's names in Prometheus' form, `gen_ai_*` those of OpenTelemetry's conventions for generative
AI, `headwater_*` our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

_CALL = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


class Family(NamedTuple):
    """One metric. A counter's `name` ends in `_total`."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str


_TABLE = (
    Family("stream_connections_total", "counter", (), "Viewers that were attached."),
    Family("stream_connections_active", "gauge", (), "Viewers attached now."),
    Family("stream_chunks_total", "counter", (), "Pieces of content that the models sent."),
    Family("stream_bytes_total", "counter", (), "Bytes of frames handed to viewers."),
    Family(
        "stream_latency_average_seconds", "gauge", (),
        "Mean time between two deliveries of one answer's content, over five minutes; absent where there was none.",
    ),
    Family(
        "stream_errors_rate", "gauge", (),
        "Failed of done and failed streams, 0 to 1, over five minutes; absent where none ended.",
    ),
    Family("headwater_build_info", "gauge", ("version",), "Always 1; which version runs."),
    Family("headwater_streams", "gauge", ("state",), "Streams produced here now, by state."),
    Family("headwater_streams_limit", "gauge", (), "The setting max_streams."),
    Family("headwater_streams_queued", "gauge", (), "Streams that wait for a slot now."),
    Family("headwater_streams_queued_limit", "gauge", (), "The setting max_queued."),
    Family("headwater_connections_limit", "gauge", (), "The setting max_connections."),
    Family("headwater_streams_started_total", "counter", (), "Streams accepted and in the log."),
    Family("headwater_streams_recovered_total", "counter", (), "Streams taken up from an earlier process."),
    Family(
        "headwater_streams_ended_total", "counter", ("outcome",), "Streams that ended: done, failed or cancelled."
    ),
    Family("headwater_stream_failures_total", "counter", ("reason",), "Failed streams by the code of their error."),
    Family("headwater_stream_text_bytes_total", "counter", (), "UTF-8 bytes of the answers' text."),
    Family("headwater_connections_resumed_total", "counter", (), "Viewers that came back with a known cursor."),
    Family("headwater_connections_reset_total", "counter", (), "Viewers that came back with an unknown cursor."),
    Family(
        "headwater_connections_dropped_total", "counter", (),
        "Connections that were lost before they had all, which the server had not sent away.",
    ),
    Family(
        "headwater_connection_rtt_seconds", "histogram", (),
        "Round trips of viewers' connections, as the system measures them (Linux).",
    ),
    Family("headwater_connection_retransmissions_total", "counter", (), "Segments sent again to viewers (Linux)."),
    Family(
        "headwater_connection_packets_lost_total", "counter", (),
        "Of them those that the peer did not have already (Linux).",
    ),
    Family(
        "headwater_route_events_total", "counter", ("event",),
        "What routes did about failures: retry, fallback, hedge, continuation.",
    ),
    Family(
        "headwater_stream_setup_seconds", "histogram", (), "From a stream's acceptance to its being in the log."
    ),
    Family("headwater_stream_first_token_seconds", "histogram", (), "From acceptance to the first visible content."),
    Family(
        "headwater_stream_chunk_gap_seconds", "histogram", (), "Between two deliveries of one answer's content."
    ),
    Family("headwater_stream_duration_seconds", "histogram", (), "From acceptance to the end."),
    Family(
        "headwater_provider_calls_total", "counter", ("provider", "outcome"),
        "Calls that ended by themselves: done or failed.",
    ),
    Family("headwater_provider_calls_running", "gauge", ("provider",), "Calls under way now."),
    Family("headwater_provider_calls_queued", "gauge", ("provider",), "Calls that wait for the provider's limits now."),
    Family(
        "headwater_provider_circuit", "gauge", ("provider", "circuit"),
        "1 for the state of the provider's circuit (closed, open, half_open: the worst of its models'), 0 for others.",
    ),
    Family("headwater_model_streams_total", "counter", ("model",), "Ended streams by public model name."),
    Family(
        "headwater_model_tokens_total", "counter", ("model", "type"),
        "Tokens of ended streams by public model name: prompt or completion, also estimated ones.",
    ),
    Family(
        "headwater_model_cost_total", "counter", ("model", "currency"),
        "Cost of ended streams whose price is known, by public model name.",
    ),
    Family("headwater_log_failing", "gauge", (), "1 while commits fail or ended streams wait for a log that works."),
    Family(
        "headwater_log_lag_seconds", "gauge", (),
        "The longest that a commit to the log was seen to be under way within the last minute.",
    ),
    Family("headwater_disk_size_bytes", "gauge", (), "Size of the file system that the data directory is on."),
    Family("headwater_disk_free_bytes", "gauge", (), "What is free of it."),
    Family("headwater_alert_firing", "gauge", ("alert", "subject"), "1 for every alert of /v1/alerts that lasts."),
    Family(
        "gen_ai_client_operation_duration_seconds", "histogram", (*_CALL, "error_type"),
        "Calls of providers, from the request to the end; error_type is empty for those that ended well.",
    ),
    Family(
        "gen_ai_client_operation_time_to_first_chunk_seconds", "histogram", _CALL,
        "From the request to the first content, of the call that gave an answer's first content.",
    ),
    Family(
        "gen_ai_client_operation_time_per_output_chunk_seconds", "histogram", _CALL,
        "Between two chunks of one call.",
    ),
    Family(
        "gen_ai_client_token_usage", "histogram", (*_CALL, "gen_ai_token_type"),
        "Tokens of a call, input or output, where the provider has told them.",
    ),
)  # fmt: skip

FAMILIES: Mapping[str, Family] = MappingProxyType({family.name: family for family in _TABLE})
