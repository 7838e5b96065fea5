"""All that a scrape reads, taken at one moment in the loop's thread."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .alerts import Alert
from .bucket import Bucket
from .calls import Calls
from .figures import Disk, Now, ProviderState


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """`whole`: since the process began. `mean_gap_s`, `error_rate`: of the last five minutes; None: nothing measured.

    `whole` and `calls` go on growing: they are read before the loop's thread does anything else.
    """

    whole: Bucket
    calls: Calls
    now: Now
    providers: Sequence[ProviderState]
    alerts: Sequence[Alert]
    mean_gap_s: float | None
    error_rate: float | None
    log_failing: bool
    log_lag_s: float
    disk: Disk | None
