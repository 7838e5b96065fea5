"""What the operator may choose about figures and alerts."""

from __future__ import annotations

import msgspec


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """`metrics`: whether anything is counted. An alert's threshold of 0 switches it off.

    `metrics_max_labels`: how many names (models, providers, reasons) a label of `/metrics` tells apart.
    """

    metrics: bool = True
    metrics_keep_s: float = 30 * 86_400.0
    metrics_keep_streams: int = 50_000
    metrics_max_labels: int = 50
    alert_window_s: int = 300
    alert_every_s: float = 15.0
    alert_error_rate: float = 0.05
    alert_first_token_ms: float = 5000.0
    alert_chunk_gap_ms: float = 1000.0
    alert_provider_error_rate: float = 0.5
    alert_drops_per_hour: int = 100
    alert_log_lag_ms: float = 2000.0
    alert_disk_used: float = 0.9
