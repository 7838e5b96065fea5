"""The stream core's settings: every limit and time-out by name, with its unit."""

from __future__ import annotations

import msgspec


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, unless the name says otherwise. Defaults are the documented ones."""

    heartbeat_s: float = 15.0
    """A viewer that got nothing for this long gets a heartbeat."""
    first_token_timeout_s: float = 120.0
    """From the start of generation to the first content."""
    idle_timeout_s: float = 60.0
    """Silence between two pieces of content; comments of the upstream count as life."""
    total_timeout_s: float = 3600.0
    """From acceptance to the end."""
    queue_timeout_s: float = 30.0
    """Wait for a generation slot."""
    priority_ageing_s: float = 10.0
    """How much sooner each step of priority is served than the one below it."""
    send_timeout_s: float = 30.0
    """A viewer whose socket takes nothing for this long is cut."""
    log_retry_s: float = 5.0
    """How long a failing log is tried again before the streams concerned are ended."""
    log_timeout_s: float = 30.0
    """How long a commit may take before its streams, and those that wait behind it, are ended."""
    grace_s: float = 20.0
    """At shutdown, how long running streams may still finish."""
    retry_ms: int = 2000
    """The reconnection time told to viewers at shutdown."""
    flush_ms: float = 5.0
    """Under load, the time between two group commits; an idle log commits at once."""
    max_streams: int = 2000
    """Streams that generate at once."""
    max_queued: int = 1000
    """Streams that wait for a slot."""
    max_connections: int = 10_000
    """Viewers attached at once."""
    max_connections_per_key: int = 0
    """Of one key or user; 0: no bound of their own."""
    max_connections_per_address: int = 0
    """From one address; 0: no bound of its own."""
    connection_timeout_s: float = 300.0
    """A viewer whose stream has told it nothing for this long is sent away, to come back; 0: never."""
    max_stream_bytes: int = 64 * 2**20
    """Size of one stream, as characters of content plus a constant an event."""
    tail_bytes: int = 32_768
    """Committed events of a live stream kept in memory; what is older is read from the log."""
    max_pending_bytes: int = 1 * 2**20
    """Events of one stream that wait for the log; above it the producer is asked to pause."""
    max_recoveries: int = 3
    """How often one stream is taken up again after a crash."""
