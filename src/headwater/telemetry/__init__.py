"""Figures: counted on the event path for next to nothing, added up beside it. Knows nothing of HTTP."""

from .alerts import Alert, Alerts
from .figures import ProviderState, Summary
from .history import FILE_NAME, History
from .monitor import Monitor
from .series import METRICS, TimeSeries
from .settings import TelemetrySettings

__all__ = [
    "FILE_NAME",
    "METRICS",
    "Alert",
    "Alerts",
    "History",
    "Monitor",
    "ProviderState",
    "Summary",
    "TelemetrySettings",
    "TimeSeries",
]
