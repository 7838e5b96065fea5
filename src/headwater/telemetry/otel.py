"""OpenTelemetry: traces of streams and metrics of calls to a collector, by OTLP over HTTP.

Imported only where an address is set: this needs the extra `otel`. The exporters work in threads of their own or in
`asyncio.to_thread`; what a collector does not take is lost, and told in the log by the SDK.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .._version import __version__
from .otel_metrics import metrics_of
from .otel_traces import StreamTraces, make_provider
from .recorder import Recorder

if TYPE_CHECKING:
    from ..events import Event
    from ..streams.channel import Channel
    from ..streams.viewer import Viewer

_logger = logging.getLogger(__name__)


class Traced:
    """An `Observer` that tells a recorder, and then the traces. Of a batch only the recorder is told, directly."""

    def __init__(self, recorder: Recorder, traces: StreamTraces) -> None:
        self.committed: Callable[[Channel, Sequence[Event], float], None] = recorder.committed
        self._recorder = recorder
        self._traces = traces

    def begun(self, channel: Channel, now: float) -> None:
        self._recorder.begun(channel, now)
        self._traces.begun(channel)

    def ended(self, channel: Channel) -> None:
        self._recorder.ended(channel)
        self._traces.ended(channel)

    def attached(self, viewer: Viewer, cursor: str | None, reset: str | None) -> None:
        self._recorder.attached(viewer, cursor, reset)
        self._traces.attached(viewer, cursor, reset)

    def left(self, viewer: Viewer) -> None:
        self._recorder.left(viewer)
        self._traces.left(viewer)


class Export:
    """`open` it, give the hub its `observer`, `close` it after the hub's shutdown. `endpoint`: without `/v1/…`."""

    def __init__(
        self, recorder: Recorder, endpoint: str, *, sample: float, interval_s: float, timeout_s: float
    ) -> None:
        base = endpoint.rstrip("/")
        self._recorder = recorder
        self._interval_s = interval_s
        self._resource = _resource()
        self._since_ns = time.time_ns()
        self._metrics = OTLPMetricExporter(f"{base}/v1/metrics", timeout=timeout_s)
        self._provider = make_provider(self._resource, sample=sample)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces", timeout=timeout_s)))
        self.observer = Traced(recorder, StreamTraces(self._provider, recorder.timeline))
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="headwater-otlp")

    async def close(self) -> None:
        """Send what there is, within the exporters' time-out."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
            await self._push()
            await asyncio.to_thread(self._shut_down)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            await self._push()

    async def _push(self) -> None:
        """What is counted now is copied in the loop's thread; the rest is done in another one."""
        told = metrics_of(self._recorder.calls, self._resource, since_ns=self._since_ns, now_ns=time.time_ns())
        if told is not None:
            try:
                await asyncio.to_thread(self._metrics.export, told)
            except Exception:
                _logger.exception("metrics could not be exported")

    def _shut_down(self) -> None:
        self._provider.shutdown()
        self._metrics.shutdown()


def _resource() -> Resource:
    """The names of the environment (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`) win."""
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    own = {"service.version": __version__, "service.instance.id": f"{platform.node()}:{os.getpid()}"}
    return Resource.create(own if named else {"service.name": "headwater", **own})
