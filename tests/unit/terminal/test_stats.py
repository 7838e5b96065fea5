"""`headwater stats` and `headwater plan` on the terminal, against a server that answers as scripted."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from rich.console import Console

from headwater.errors import ConfigError, ConnectionLost, HeadwaterError
from headwater.telemetry.alerts import Alert
from headwater.telemetry.bucket import Bucket
from headwater.telemetry.figures import Now, ProviderState, StreamsNow, ViewersNow, summarize
from headwater.telemetry.series import TimeSeries, series_of
from headwater.terminal import stats as module
from headwater.terminal.exits import FAILED, FINE, INTERRUPTED
from headwater.terminal.plan import Order, plan, quantity
from headwater.terminal.stats import seconds, size, span, sparkline, stats, step_of
from tests.unit.client.scripted import Answer, Request, Script, answer, refused

from .commands import beside, ctrl_c_works, press_ctrl_c

NOW = Now(StreamsNow(3, 2000, 1, 1000, {"streaming": 3}), ViewersNow(2, 10_000), 150_000_000)
ALERT = Alert("error_rate", "", "share", 0.4, 0.05, "2026-01-01T00:00:00.000Z", None, "40 % of the streams fail\x1b[2J")


def busy() -> Bucket:
    bucket = Bucket(60.0)
    counts = bucket.counts
    counts.started, counts.done, counts.failed, counts.chunks = 90, 80, 4, 60_000
    counts.completion_tokens, counts.sent_bytes, counts.cpu_ms = 5000, 2_500_000, 3000.0
    bucket.peaks.streams, bucket.peaks.viewers, bucket.peaks.memory_bytes = 80, 90, 130_000_000
    bucket.timings.first_token.add_all([0.3, 0.5])
    part = bucket.provider("openai\x1b[31m")
    part.attempts, part.failures = 90, 4
    model = bucket.model("gpt")
    model.streams, model.completion_tokens, model.costs = 84, 5000, {"USD": 1.25}
    return bucket


def told(buckets: Sequence[Bucket], alerts: Sequence[Alert] = ()) -> Script:
    """A server that has measured these, a step each."""

    def script(request: Request) -> Answer:
        if request.path == "/v1/alerts":
            return answer(200, msgspec.json.encode({"object": "list", "data": alerts, "past": []}))
        if request.path == "/v1/metrics/summary":
            whole = Bucket()
            for bucket in buckets:
                whole.merge(bucket)
            window_s = int(request.query["window_s"])
            made = summarize(whole, at_ms=0, window_s=window_s, now=NOW, providers=[ProviderState("idle")])
            return answer(200, msgspec.json.encode(made))
        query = parse_qs(urlsplit(request.target).query)
        return answer(200, msgspec.json.encode(steps(buckets, query["metric"], int(query["step_s"][0]))))

    return script


def steps(buckets: Sequence[Bucket], names: Sequence[str], step_s: int) -> TimeSeries:
    return series_of(buckets, names, at_ms=0, start_ms=0, window_s=step_s * len(buckets), step_s=step_s)


def test_figures_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with beside(told([Bucket(), Bucket(60.0), busy()], [ALERT])) as server:
        assert stats(url=server.url, key="", window="1h", as_json=False, watch=True) == FINE  # a pipe is not watched
    out = capsys.readouterr().out
    for expected in (
        *("last 1 h (2 min measured)", "3 of 2,000", "1 queued", "2 of 10,000", "90 · 80 done", "4 · 4.8%", "2.5 MB"),
        *("p50 300", "first token", "openai\ufffd[31m", "90", "1.2500 USD", "! 40 % of the streams fail\ufffd[2J"),
        "150.0 MB",
    ):
        assert expected in out, out
    assert " ▁█" in out  # not measured, nothing, the most
    assert "idle" not in out
    assert "\x1b" not in out


def test_a_server_that_did_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with beside(told([Bucket()])) as server:
        assert stats(url=server.url, key="", window="300", as_json=False, watch=False) == FINE
    out = capsys.readouterr().out
    assert "last 5 min (0 s measured)" in out
    assert "–" in out
    assert "model" not in out


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    with beside(told([busy()], [ALERT])) as server:
        assert stats(url=server.url, key="secret", window="1d", as_json=True, watch=False) == FINE
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer secret"}
    found = json.loads(capsys.readouterr().out)
    assert (found["summary"]["totals"]["started"], found["alerts"][0]["name"]) == (90, "error_rate")
    assert found["series"]["data"]


def test_watching_goes_on_until_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        """A terminal whose person presses Ctrl-C when the figures were shown three times."""

        shown = 0

        def write(self, text: str) -> int:
            self.shown += "first token" in text
            if self.shown == 3:
                self.shown += 1
                press_ctrl_c()
            return super().write(text)

    screen = Screen()
    terminal = Console(file=screen, force_terminal=True, width=100, height=40)
    monkeypatch.setattr(module, "consoles", lambda: (terminal, terminal))
    monkeypatch.setattr(module, "REFRESH_S", 0.01)
    with beside(told([busy()])) as server, ctrl_c_works():
        assert stats(url=server.url, key="", window="1h", as_json=False, watch=True) == INTERRUPTED
    assert screen.shown == 4


def test_what_the_server_refuses_is_told() -> None:
    with beside(lambda _: refused(403, "forbidden", "for administrators only")) as server:
        with pytest.raises(HeadwaterError, match="for administrators only"):
            stats(url=server.url, key="", window="1h", as_json=False, watch=False)
        url = server.url
    with pytest.raises(ConnectionLost, match="start one with"):
        stats(url=url, key="", window="1h", as_json=False, watch=False)


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("15m", 900), (" 12h ", 43_200), ("30d", 2_592_000)]
)
def test_windows(text: str, expected: int) -> None:
    assert seconds("--window", text) == expected


@pytest.mark.parametrize("text", ["", "0", "0h", "1w", "-5m", "1.5h", "h"])
def test_windows_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="--window"):
        seconds("--window", text)


def test_steps_are_what_the_server_keeps() -> None:
    assert [step_of(window_s, 60) for window_s in (60, 300, 301, 3600, 86_400)] == [1, 5, 60, 60, 1440]
    assert [step_of(window_s, 20) for window_s in (60, 300, 301, 3600)] == [3, 15, 60, 180]
    assert step_of(2_592_000, 1440) == 1800


def test_how_amounts_are_written() -> None:
    sizes = (None, 0, 999, 1000, 2_500_000, 3e9, 4e15)
    assert [size(count) for count in sizes] == ["–", "0 B", "999 B", "1.0 kB", "2.5 MB", "3.0 GB", "4,000.0 TB"]
    lengths = (59, 60, 90, 3600, 7300, 86_400, 172_800)
    assert [span(length) for length in lengths] == ["59 s", "1 min", "90 s", "1 h", "2 h", "1 d", "2 d"]
    assert sparkline([]) == ""
    assert sparkline([None, 0.0]) == " ▁"
    assert sparkline([0.0, 1.0, 2.0, 4.0, 8.0]) == "▁▂▃▅█"


# ---------------------------------------------------------------------- plan

ORDER = Order("7d", 100.0, 2, "4GiB", "1G", 0.6)


def test_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    idle = Bucket(60.0)
    idle.peaks.memory_bytes = 100_000_000
    with beside(told([idle, busy()])) as server:
        assert plan(ORDER, url=server.url, key="", as_json=False) == FINE
        out = capsys.readouterr().out
        assert plan(ORDER, url=server.url, key="", as_json=True) == FINE
    found = json.loads(capsys.readouterr().out)
    assert (found["streams"], found["load"]["chunk_basis"], found["node"]["max_streams"]) == (8000, "measured", 2000)
    assert found["load"]["stream_bytes"] == 375_000
    for expected in ("80 streams, 90 viewers", "50 µs of CPU (measured)", "100 × that", "8,000 streams", "nodes"):
        assert expected in out, out


def test_without_load_there_is_no_plan(capsys: pytest.CaptureFixture[str]) -> None:
    with beside(told([Bucket(60.0)])) as server:
        assert plan(ORDER, url=server.url, key="", as_json=False) == FAILED
    assert "nothing was streamed in the last 7 d" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"growth": 0.0}, "no plan: growth"),
        ({"utilisation": 2.0}, "no plan: growth"),
        ({"memory": "much"}, "--memory much"),
        ({"bandwidth": "0G"}, "--bandwidth 0G"),
        ({"window": "always"}, "--window always"),
    ],
)
def test_orders_that_are_wrong(changes: dict[str, str | float], message: str) -> None:
    with beside(told([busy()])) as server, pytest.raises(ConfigError, match=message):
        plan(ORDER._replace(**changes), url=server.url, key="", as_json=False)  # type: ignore[arg-type]


def test_quantities() -> None:
    written = ("512M", "4GiB", "2.5g", "100", "1 kB", "1T")
    assert [quantity("--memory", text) for text in written] == [512e6, 4 * 2**30, 2.5e9, 100, 1000, 1e12]
