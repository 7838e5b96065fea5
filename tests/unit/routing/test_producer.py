"""The route end to end: scripted servers over real sockets, a real hub, and what the stream tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from headwater.errors import Interrupted, ProviderRejected, ProviderUnreachable, UnknownModel
from headwater.events import Done, Error, Event, Metadata, Status, Text, Usage
from headwater.providers import Ollama
from headwater.providers.ports import Continuation, Held
from headwater.providers.wire.responses import Responses
from headwater.request import ChatRequest, encode_request
from headwater.routing import Route
from headwater.streams import Hub, StreamSettings
from headwater.streams.ports import Producer, Writer
from headwater.tables import Limits, Price
from tests.upstream import Script

from ..streams.kit import eventually, fill
from .kit import Acting, Bench, Told, ask, fail, hang, say

WHOLE = Script(tokens=8).answer()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench() as bench:
        yield bench


class TestBeforeContent:
    async def test_an_answer(self, bench: Bench) -> None:
        told = await bench.run(bench.route(bench.target("a"), bench.target("b")), tokens=8)
        assert (told.text, told.reason) == (WHOLE, "stop")
        assert told.outcomes == [("a", "done")]
        assert told.facts["cost"] == {"amount": 2e-05, "currency": "USD", "source": "exact"}
        assert (bench.a.attempts, bench.b.attempts) == (1, 0)

    @pytest.mark.parametrize(
        "fault",
        ["refuse", "cut_before_headers", "status:500", "status:429", "html", "error_200", "garbage_http", "error_mid",
         "error_event", "cut_mid_frame", "garbage"],
    )  # fmt: skip
    async def test_is_tried_again(self, bench: Bench, fault: str) -> None:
        """Lifecycle events must not commit the route (bifrost #5395, #2917), nor is a retry dead on arrival (#4788)."""
        script = {"tokens": 8, "fault": fault, "fault_times": 2, "fault_after": 0, "key": "k"}
        told = await bench.run(bench.route(bench.target("a")), **script)
        assert told.text == WHOLE
        assert told.stages == ["retrying", "retrying"]
        assert [status.attempt for status in told.statuses("retrying")] == [2, 3]
        assert bench.waits.seconds == [0.5, 1.0]
        assert bench.a.attempts_for("k") == 3
        assert told.outcomes == [("a", "failed"), ("a", "failed"), ("a", "done")]

    async def test_retry_after_is_honoured(self, bench: Bench) -> None:
        await bench.run(bench.route(bench.target("a")), fault="status:429+retry_after:3", fault_times=1)
        assert bench.waits.seconds == [3.0]

    async def test_a_long_retry_after_is_for_another_target(self, bench: Bench) -> None:
        b = Acting("b", say(Text("b"), Done("stop")))
        told = await bench.run(bench.route(bench.target("a"), bench.target(b)), fault="status:429+retry_after:3600")
        assert (told.text, bench.a.attempts, bench.waits.seconds) == ("b", 1, [])

    async def test_or_the_callers(self, bench: Bench) -> None:
        told = await bench.run(bench.route(bench.target("a")), fault="status:429+retry_after:3600")
        assert isinstance(told.end, Error)
        assert (told.end.retry_after_s, told.end.status, bench.a.attempts) == (3600, 429, 1)

    @pytest.mark.parametrize("status", [401, 403, 404])
    async def test_falls_back_on_what_is_the_targets_own(self, bench: Bench, status: int) -> None:
        b = Acting("b", say(Text("b"), Done("stop")))
        told = await bench.run(bench.route(bench.target("a"), bench.target(b, "n")), fault=f"status:{status}")
        assert told.text == "b"
        assert told.outcomes == [("a", "failed"), ("b", "done")]
        (status_event,) = told.statuses("fallback")
        assert status_event.data == {"provider": "b", "model": "n", "reason": "provider_rejected"}
        assert status_event.attempt == 2

    async def test_an_in_band_error_after_lifecycle_events_falls_back(self, bench: Bench) -> None:
        """bifrost #5395, #2917."""
        b = Acting("b", say(Text("b"), Done("stop")))
        told = await bench.run(
            bench.route(bench.target("a"), bench.target(b), attempts=1), fault="error_event", fault_after=0
        )
        assert (told.text, told.outcomes) == ("b", [("a", "failed"), ("b", "done")])
        assert bench.a.attempts == 1

    async def test_what_is_wrong_everywhere_ends_at_once(self, bench: Bench) -> None:
        told = await bench.run(bench.route(bench.target("a"), bench.target("b")), fault="status:400")
        assert isinstance(told.end, Error)
        assert (told.end.status, bench.a.attempts, bench.b.attempts) == (400, 1, 0)
        policy = ProviderRejected("no", status=403, upstream_code="content_policy_violation")
        told = await bench.run(bench.route(bench.target(Acting("x", fail(policy))), bench.target("b")))
        assert (told.reason, bench.b.attempts) == ("provider_rejected", 0)

    async def test_fallback_off(self, bench: Bench) -> None:
        """`disable_fallbacks` ignored: litellm #19077. The same target is still tried again."""
        route = bench.route(bench.target("a"), bench.target("b"), continue_answers=True)
        told = await bench.run(route, ask(None, fallback=False, fault="status:500"))
        assert told.outcomes == [("a", "failed")] * 3
        told = await bench.run(route, ask(None, fallback=False, fault="cut_mid_frame"))
        assert (told.reason, bench.b.attempts) == ("provider_truncated", 0)

    @pytest.mark.parametrize(("attempts", "most", "made"), [(2, 6, "aabb"), (5, 3, "aaa"), (1, 1, "a"), (2, 3, "aab")])
    async def test_attempts_are_bounded(self, bench: Bench, attempts: int, most: int, made: str) -> None:
        """One request makes ten upstream attempts: bifrost #7035."""
        route = bench.route(bench.target("a"), bench.target("b"), attempts=attempts, max_attempts=most)
        told = await bench.run(route, fault="status:500")
        assert "".join(provider for provider, _ in told.outcomes) == made
        assert bench.a.attempts + bench.b.attempts == len(made)
        assert told.reason == "provider_rejected"

    async def test_one_that_cannot_take_it_is_passed_over(self, bench: Bench) -> None:
        class Wrong(Acting):
            def producer(self, request: ChatRequest, model: str) -> Producer:
                raise UnknownModel("no such recording")

        route = bench.route(bench.target("a"), bench.target(Wrong("w", hang)), bench.target("b"), attempts=1)
        told = await bench.run(route, fault="status:500")
        assert told.outcomes == [("a", "failed"), ("b", "failed")]

    async def test_a_target_that_turns_ill_is_left_at_once(self, bench: Bench) -> None:
        a = bench.target("a")
        for _ in range(4):
            a.breaker.fail(probe=False)
        route = bench.route(a, bench.target("b"), attempts=3, max_attempts=3)
        told = await bench.run(route, fault="status:500")
        assert told.outcomes == [("a", "failed"), ("b", "failed"), ("b", "failed")]
        assert a.breaker.state == "open"

    async def test_a_first_token_that_never_comes(self, bench: Bench) -> None:
        """Watchdogs are the target's; the stream goes on with the next one."""
        b = Acting("b", say(Text("b"), Done("stop")))
        a = bench.target("a", limits=Limits(first_token_timeout_s=0.05))
        told = await bench.run(bench.route(a, bench.target(b), attempts=1), fault="hang_before_headers")
        assert (told.text, told.attempts[0]["reason"]) == ("b", "provider_timeout")
        await bench.a.until(lambda: bench.a.active == 0)

    async def test_a_full_queue_falls_back(self, bench: Bench) -> None:
        a = bench.target("a", limits=Limits(max_concurrent=1, max_queued=0))
        a.gates[0].enter()
        b = Acting("b", say(Text("b"), Done("stop")))
        told = await bench.run(bench.route(a, bench.target(b)))
        assert (told.text, bench.a.attempts, bench.waits.seconds) == ("b", 0, [])


class TestSlots:
    async def test_one_slow_providers_queue_leaves_the_server_to_the_others(self, bench: Bench) -> None:
        """Who waits for an upstream's slot holds none of the server's, and gives none back twice."""
        hub = bench.hub = Hub(bench.log, StreamSettings(flush_ms=1.0, max_streams=2, queue_timeout_s=5.0))
        await hub.start()
        slow = bench.target("a", limits=Limits(max_concurrent=1))
        waiting = [await bench.begin(bench.route(slow), ask(fault="hang_mid")) for _ in range(5)]
        await eventually(lambda: slow.gates[0].queued == len(waiting) - 1)
        assert hub._generations._admission.running == 1
        told = [await bench.run(bench.route(bench.target("b")), tokens=8) for _ in range(4)]
        assert [(one.text, one.stages) for one in told] == [(WHOLE, [])] * 4
        await bench.cancel(waiting[0])
        await eventually(lambda: slow.gates[0].queued == len(waiting) - 2)
        for channel in waiting[1:]:
            await bench.cancel(channel)
        await eventually(lambda: bench.upstreams.running == hub._generations._admission.running == 0)


class TestCancel:
    """Reaches the provider at once, from every state; slots and sockets are free again."""

    @pytest.mark.parametrize("fault", ["hang_before_headers", "hang_mid"])
    async def test_while_it_is_asked(self, bench: Bench, fault: str) -> None:
        """Upstream left running after the client is gone: litellm #30244, PR #31499."""
        channel = await bench.begin(
            bench.route(bench.target("a", limits=Limits(max_concurrent=1))), ask(tokens=8, fault=fault)
        )
        await bench.a.until(lambda: bench.a.active == 1)
        if fault == "hang_mid":
            await eventually(lambda: channel.fold.has_content)
        told = await bench.cancel(channel)
        assert bench.upstreams.running == 0
        await bench.a.until(lambda: bench.a.aborted == 1 and bench.a.open_connections == 0)
        assert (told.reason, told.outcomes) == ("cancelled", [("a", "cancelled")])
        # No usage on abort: vercel/ai #7628.
        (usage,) = [event for event in told.events if type(event) is Usage]
        assert usage.source == "estimated"
        assert usage.prompt_tokens > 0
        assert (usage.completion_tokens > 0) == (fault == "hang_mid")

    async def test_while_it_waits_to_try_again(self, bench: Bench) -> None:
        bench.waits.gate = asyncio.Event()
        channel = await bench.begin(
            bench.route(bench.target("a", limits=Limits(max_concurrent=1))), ask(fault="status:500")
        )
        await bench.waits.begun.wait()
        assert bench.upstreams.running == 0  # no slot is held meanwhile
        told = await bench.cancel(channel)
        assert (told.reason, told.outcomes, bench.a.attempts) == ("cancelled", [("a", "failed")], 1)

    async def test_while_it_waits_for_a_slot(self, bench: Bench) -> None:
        a = bench.target("a", limits=Limits(max_concurrent=1))
        holder = a.gates[0].enter()
        channel = await bench.begin(bench.route(a), ask())
        await eventually(lambda: a.gates[0].queued)
        told = await bench.cancel(channel)
        await eventually(lambda: not a.gates[0].queued)
        holder.release()
        assert (told.reason, told.attempts, bench.upstreams.running) == ("cancelled", [], 0)

    async def test_while_it_hedges(self, bench: Bench) -> None:
        limits = Limits(max_concurrent=1)
        route = bench.route(bench.target("a", limits=limits), bench.target("b", limits=limits), hedge_after_s=0.01)
        channel = await bench.begin(route, ask(fault="hang_before_headers"))
        await bench.b.until(lambda: bench.b.active == 1)
        told = await bench.cancel(channel)
        await bench.a.until(lambda: bench.a.open_connections == 0)
        await bench.b.until(lambda: bench.b.open_connections == 0)
        assert (told.reason, bench.upstreams.running) == ("cancelled", 0)
        assert told.outcomes == [("a", "cancelled"), ("b", "cancelled")]


class TestHedge:
    async def test_a_slow_first_is_overtaken(self, bench: Bench) -> None:
        b = Acting("b", say(Text("b"), Done("stop")))
        route = bench.route(bench.target("a"), bench.target(b, "n"), hedge_after_s=0.01)
        told = await bench.run(route, fault="hang_before_headers")
        assert (told.text, told.outcomes) == ("b", [("a", "lost"), ("b", "done")])
        assert told.statuses("hedging") == [Status("hedging", "also asking b/n", data={"provider": "b", "model": "n"})]
        await bench.a.until(lambda: bench.a.aborted == 1)

    @pytest.mark.parametrize(
        ("policy", "params"),
        [({}, {"background": True}), ({"max_attempts": 1}, {}), ({"fallback": False}, {})],
    )
    async def test_nobody_else_is_asked(self, bench: Bench, policy: dict[str, int], params: dict[str, bool]) -> None:
        a = Acting("a", _pause_then(Text("a"), Done("stop")))
        route = bench.route(bench.target(a), bench.target("b"), hedge_after_s=0.001, **policy)
        told = await bench.run(route, ask(params))
        assert (told.text, told.outcomes, bench.b.attempts) == ("a", [("a", "done")], 0)

    async def test_nor_somebody_ill(self, bench: Bench) -> None:
        b = bench.target("b")
        for _ in range(5):
            b.breaker.fail(probe=False)
        a = Acting("a", _pause_then(Text("a"), Done("stop")))
        told = await bench.run(bench.route(bench.target(a), b, hedge_after_s=0.001))
        assert (told.text, bench.b.attempts) == ("a", 0)

    async def test_where_both_fail_the_first_is_tried_again(self, bench: Bench) -> None:
        down = ProviderUnreachable("down")
        a = Acting("a", _pause_then(down), say(Text("a"), Done("stop")))
        b = Acting("b", fail(down))
        told = await bench.run(bench.route(bench.target(a), bench.target(b), hedge_after_s=0.001))
        assert (told.text, told.outcomes) == ("a", [("a", "failed"), ("b", "failed"), ("a", "done")])

    async def test_a_winner_that_breaks_off_is_gone_on_from(self, bench: Bench) -> None:
        b = Acting("b", _parts(Text("b"), ProviderUnreachable("gone")))
        route = bench.route(
            bench.target("a"), bench.target(b), hedge_after_s=0.01, continue_answers=True, max_attempts=6
        )
        told = await bench.run(route, fault="hang_before_headers")
        assert (told.text, told.reason) == ("b", "provider_unreachable")  # `a` has no prefix, `b` cannot
        assert told.outcomes == [("a", "lost"), ("b", "failed")]


def _pause_then(*parts: object):  # type: ignore[no-untyped-def]
    async def act(writer: Writer) -> None:
        await asyncio.sleep(0.02)  # the hedge is due meanwhile
        _parts(*parts)(writer)

    return act


def _parts(*parts: object):  # type: ignore[no-untyped-def]
    def act(writer: Writer) -> None:
        for part in parts:
            if isinstance(part, BaseException):
                raise part
            writer.write([part])  # type: ignore[list-item]

    return act


class TestContinuation:
    async def test_another_target_goes_on(self, bench: Bench) -> None:
        """A cut upstream is no end; nothing is injected to go on (litellm #18229), nothing is said twice."""
        b = bench.provider("b", continuation="trailing")
        route = bench.route(bench.target("a"), bench.target(b), continue_answers=True)
        # The servers count by themselves: `b` would cut after 20 tokens, too, but has only ten left to say.
        told = await bench.run(route, tokens=30, fault="cut_mid_frame", fault_after=20, fault_times=1)
        assert told.reason == "stop"
        assert told.stages == ["continuing"]
        assert told.outcomes == [("a", "failed"), ("b", "done")]
        assert told.text == Script(tokens=30).answer()

    @pytest.mark.parametrize("continuation", ["trailing", "prefix", "continue_final_message"])
    @pytest.mark.parametrize("echo", [False, True])
    async def test_the_same_target_goes_on(self, bench: Bench, continuation: str, echo: bool) -> None:
        a = bench.provider("a", continuation=continuation, echoes_prefix=echo)
        route = bench.route(bench.target(a), bench.target("b"), continue_answers=True)
        told = await bench.run(
            route, tokens=30, fault="cut_mid_frame", fault_times=1, fault_after=15, key="k", echo_prefix=echo
        )
        answer = Script(tokens=30).answer()
        assert (told.text, told.reason) == (answer, "stop")
        begun = "".join(Script(tokens=30).pieces()[:15])
        (seam,) = told.statuses("continuing")
        assert seam.data == {"provider": "a", "model": "m", "reason": "provider_truncated",
                             "after_characters": len(begun)}  # fmt: skip
        messages = bench.a.requests[-1].body["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant"]
        assert messages[-1]["content"] == begun.rstrip()
        assert told.outcomes == [("a", "failed"), ("a", "done")]
        assert bench.waits.seconds == [0.5]
        (usage,) = [event for event in told.events if type(event) is Usage]
        first, second = told.attempts
        assert usage.source == "estimated"
        assert usage.completion_tokens == first["completion_tokens"] + second["completion_tokens"]
        assert usage.prompt_tokens == first["prompt_tokens"] + second["prompt_tokens"]
        assert told.facts["cost"]["source"] == "estimated"

    @pytest.mark.parametrize("fault", ["cut_mid_frame", "rst_mid", "cut_clean", "error_mid"])
    async def test_ollama_goes_on_too(self, bench: Bench, fault: str) -> None:
        a = bench.provider("a", Ollama(bench.a.url))
        route = bench.route(bench.target(a), continue_answers=True)
        told = await bench.run(route, tokens=30, fault=fault, fault_times=1, fault_after=15)
        assert (told.text, told.reason, told.stages) == (Script(tokens=30).answer(), "stop", ["continuing"])

    @pytest.mark.parametrize(
        ("params", "script"),
        [
            ({"response_format": {"type": "json_object"}}, {}),
            ({}, {"reasoning": "hm hm"}),
            ({}, {"tool_calls": [{"name": "f"}], "text": "a b c d"}),
        ],
    )
    async def test_not_what_two_halves_would_break(
        self, bench: Bench, params: dict[str, object], script: dict[str, object]
    ) -> None:
        a = bench.provider("a", continuation="trailing")
        route = bench.route(bench.target(a), continue_answers=True)
        told = await bench.run(
            route, ask(params, **{"tokens": 8, "fault": "cut_mid_frame", "fault_after": 5, **script})
        )
        assert (told.reason, told.stages, bench.a.attempts) == ("provider_truncated", [], 1)

    async def test_only_where_it_was_asked_for(self, bench: Bench) -> None:
        a = bench.provider("a", continuation="trailing")
        told = await bench.run(bench.route(bench.target(a)), tokens=8, fault="cut_mid_frame")
        assert (told.reason, bench.a.attempts) == ("provider_truncated", 1)
        assert told.text == "".join(Script(tokens=8).pieces()[:4])

    async def test_it_is_bounded(self, bench: Bench) -> None:
        a = bench.provider("a", continuation="trailing")
        route = bench.route(bench.target(a), continue_answers=True, max_continuations=2)
        told = await bench.run(route, tokens=64, fault="cut_mid_frame", fault_after=8)
        assert (told.reason, told.stages) == ("provider_truncated", ["continuing"] * 2)
        assert Script(tokens=64).answer().startswith(told.text)
        assert bench.a.attempts == 3

    async def test_spend_is_bounded(self, bench: Bench) -> None:
        a = bench.provider("a", continuation="trailing")
        target = bench.target(a, price=Price(output=1e6))
        route = bench.route(target, continue_answers=True, max_cost=1.0)
        told = await bench.run(route, tokens=64, fault="cut_mid_frame", fault_after=8)
        assert (told.reason, bench.a.attempts) == ("provider_truncated", 1)

    async def test_an_error_that_is_the_requests_ends_it(self, bench: Bench) -> None:
        policy = ProviderRejected("no", status=400, upstream_code="content_filter")
        a = Acting("a", _parts(Text("a"), policy))
        b = bench.provider("b", continuation="trailing")
        told = await bench.run(bench.route(bench.target(a), bench.target(b), continue_answers=True))
        assert (told.text, told.reason, bench.b.attempts) == ("a", "provider_rejected", 0)

    async def test_one_that_refuses_to_go_on_is_not_what_the_caller_is_told(self, bench: Bench) -> None:
        """The answer broke off because `a` died, not because `b` cannot take a prefix."""
        refusal = ProviderRejected("the last message must be the user's", status=400)
        a = Acting("a", _parts(Text("a"), ProviderUnreachable("gone")))
        b = Going("b", fail(refusal))
        route = bench.route(bench.target(a), bench.target(b), continue_answers=True, max_continuations=5)
        told = await bench.run(route)
        assert (told.text, told.reason) == ("a", "provider_unreachable")
        assert told.outcomes == [("a", "failed"), ("b", "failed")]

    async def test_one_that_gives_nothing_comes_last(self, bench: Bench) -> None:
        down = ProviderUnreachable("down")
        a = Acting("a", _parts(Text("a"), ProviderUnreachable("gone")))
        b, c = Going("b", fail(down)), Going("c", say(Text(" c"), Usage(5, 1), Done("stop")))
        route = bench.route(*map(bench.target, (a, b, c)), continue_answers=True)
        told = await bench.run(route)
        assert (told.text, told.reason) == ("a c", "stop")
        assert told.outcomes == [("a", "failed"), ("b", "failed"), ("c", "done")]
        assert bench.waits.seconds == []  # nobody waits for somebody else

    async def test_a_target_whose_error_says_no_is_not_asked_again(self, bench: Bench) -> None:
        a = Going("a", _parts(Text("a"), ProviderRejected("key revoked", status=401)))
        told = await bench.run(bench.route(bench.target(a), continue_answers=True))
        assert (told.outcomes, told.end.reason) == ([("a", "failed")], "provider_rejected")

    async def test_what_is_held_back_is_told_though_nothing_ends_it(self, bench: Bench) -> None:
        a = Going("a", _parts(Text("a "), ProviderUnreachable("gone")), say(Text(" \n")))
        told = await bench.run(bench.route(bench.target(a), continue_answers=True))
        assert (told.text, told.reason) == ("a \n", "stop")


class Going(Acting):
    """A provider that goes on by another attempt."""

    exact = False
    position: int | None = None

    def continuation(self, request: ChatRequest, model: str, held: Held) -> Continuation | None:
        self.held = held
        return Continuation(self.producer(request, model), self.exact)


class Again(Going):
    """One whose answers go on by themselves, and can be asked for again, or stopped."""

    exact = True

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.abandoned: list[object] = []

    def continuation(self, request: ChatRequest, model: str, held: Held) -> Continuation | None:
        found = super().continuation(request, model, held)
        return found if "id" in held.facts else None

    def abandon(self, facts: dict[str, object]) -> None:
        self.abandoned.append(facts["id"])


MADE = Metadata({"id": "r1"})


class TestAnswersOfTheBackground:
    async def test_are_asked_for_again_without_consent(self, bench: Bench) -> None:
        cut = ProviderUnreachable("cut")
        a = Again("a", _parts(MADE, Text("a"), cut), say(Text("b"), Usage(3, 2), Done("stop")))
        told = await bench.run(bench.route(bench.target(a)))
        assert (told.text, told.reason) == ("ab", "stop")
        assert [event for event in told.events if type(event) is Usage] == [Usage(3, 2)]
        assert told.facts["cost"]["source"] == "exact"
        assert a.held == Held("a", {"id": "r1"})
        assert a.abandoned == []

    async def test_but_not_where_another_targets_text_broke_off(self, bench: Bench) -> None:
        """The abandoned answer may have become whole; its end is no end of what viewers have."""
        a = Again("a", _parts(MADE, ProviderUnreachable("cut")), say(Text("of a"), Done("stop")))
        b = Acting("b", _parts(Text("from b "), ProviderUnreachable("cut")))
        told = await bench.run(bench.route(bench.target(a), bench.target(b), attempts=1))
        assert (told.text, told.reason) == ("from b ", "provider_unreachable")
        assert a.held.facts == {}

    async def test_a_cancel_stops_them(self, bench: Bench) -> None:
        """Stop does not stop the model: open-webui #1567."""
        a = Again("a", lambda writer: writer.write([MADE, Text("a")]) and hang(writer))
        channel = await bench.begin(bench.route(bench.target(a)), ask())
        await eventually(lambda: channel.fold.has_content)
        await bench.cancel(channel)
        assert a.abandoned == ["r1"]

    async def test_also_between_two_attempts(self, bench: Bench) -> None:
        bench.waits.gate = asyncio.Event()
        a = Again("a", _parts(MADE, Text("a"), ProviderUnreachable("cut")))
        channel = await bench.begin(bench.route(bench.target(a)), ask())
        await bench.waits.begun.wait()
        await bench.cancel(channel)
        assert a.abandoned == ["r1"]

    async def test_who_is_not_waited_for_is_stopped(self, bench: Bench) -> None:
        """Each of a retry, a fall-back and an end leaves one behind."""
        a = Again("a", _parts(MADE, ProviderUnreachable("cut")))
        route = bench.route(bench.target(a), bench.target("b"), attempts=2, max_attempts=3)
        told = await bench.run(route, fault="status:500")
        assert told.outcomes == [("a", "failed"), ("a", "failed"), ("b", "failed")]
        assert a.abandoned == ["r1"] * 2

    async def test_a_shutdown_leaves_them_to_the_next_process(self, bench: Bench) -> None:
        a = Again("a", lambda writer: writer.write([MADE, Text("a")]) and hang(writer))
        channel = await bench.begin(bench.route(bench.target(a)), ask())
        await eventually(lambda: channel.fold.has_content)
        await bench.hub.shutdown(0)
        assert a.abandoned == []


class TestResponsesOfTheBackground:
    """The same over the real protocol."""

    def route(self, bench: Bench) -> Route:
        return bench.route(bench.target(bench.provider("a", Responses(bench.a.openai_url))))

    async def test_one_that_is_cut_is_followed_from_its_position(self, bench: Bench) -> None:
        asked = ask({"background": True}, tokens=30, fault="cut_mid_frame", fault_times=1, fault_after=15)
        told = await bench.run(self.route(bench), asked)
        assert (told.text, told.reason) == (Script(tokens=30).answer(), "stop")
        assert [request.method for request in bench.a.requests] == ["POST", "GET"]
        assert told.outcomes == [("a", "failed"), ("a", "done")]
        (usage,) = [event for event in told.events if type(event) is Usage]
        assert (usage.source, told.facts["cost"]["source"]) == ("exact", "exact")

    async def test_a_cancel_reaches_it(self, bench: Bench) -> None:
        """Closing the socket does not stop it: open-webui #1567."""
        asked = ask({"background": True}, tokens=30, fault="hang_mid")
        channel = await bench.begin(self.route(bench), asked)
        await eventually(lambda: channel.fold.has_content)
        told = await bench.cancel(channel)
        await bench.a.until(lambda: bool(bench.a.kept.cancelled))
        assert told.reason == "cancelled"


class TestTakenUp:
    """What a process that is gone has left goes on by the same path."""

    async def taken_up(self, bench: Bench, route: Route, *events: Event) -> Told:
        record = await fill(bench.log, "s", events)
        request = encode_request(ask(None, tokens=30))
        record = msgspec.structs.replace(record, request=request)
        hub = Hub(bench.log, StreamSettings(flush_ms=1.0), recover=lambda *_: route.producer(ask(None, tokens=30)))
        await hub.start()
        try:
            channel = await hub.open(record.id, owner="")
            async with asyncio.timeout(10):
                await channel.wait_end()
            return Told(await hub.read_all(channel))
        finally:
            await hub.shutdown(0)

    async def test_from_its_text(self, bench: Bench) -> None:
        begun = Script(tokens=30).pieces()[:15]
        a = bench.provider("a", continuation="trailing")
        route = bench.route(bench.target(a), continue_answers=True)
        told = await self.taken_up(bench, route, *map(Text, begun))
        assert (told.text, told.reason) == (Script(tokens=30).answer(), "stop")
        assert told.stages == ["recovering", "continuing"]
        (usage,) = [event for event in told.events if type(event) is Usage]
        assert usage.completion_tokens > told.attempts[0]["completion_tokens"]  # both parts
        assert "cost" not in told.facts  # of the first part nobody knows it
        assert told.facts["first_token_ms"] > 0

    async def test_or_ends_as_interrupted(self, bench: Bench) -> None:
        told = await self.taken_up(bench, bench.route(bench.target("a")), Text("a"))
        assert (told.text, told.reason, bench.a.attempts) == ("a", Interrupted.code, 0)

    async def test_seams_before_the_crash_count(self, bench: Bench) -> None:
        a = bench.provider("a", continuation="trailing")
        route = bench.route(bench.target(a), continue_answers=True)
        told = await self.taken_up(bench, route, Text("a"), Status("continuing"), Status("continuing"))
        assert (told.reason, bench.a.attempts) == (Interrupted.code, 0)

    async def test_the_same_generation_where_it_still_runs(self, bench: Bench) -> None:
        a = Again("a", say(Text("a"), Usage(3, 1), Done("stop")))
        told = await self.taken_up(bench, bench.route(bench.target("b"), bench.target(a)), MADE)
        assert (told.text, told.outcomes, bench.b.attempts) == ("a", [("a", "done")], 0)

    async def test_or_another_where_it_cannot_be_had(self, bench: Bench) -> None:
        a = Again("a", fail(ProviderRejected("gone", status=404)))
        told = await self.taken_up(bench, bench.route(bench.target(a), bench.target("b"), attempts=1), MADE)
        assert told.outcomes == [("a", "failed"), ("a", "failed"), ("b", "done")]
        assert told.text == Script(tokens=30).answer()

    async def test_the_same_generation_may_break_off_again(self, bench: Bench) -> None:
        parts = _parts(Text("a"), ProviderUnreachable("cut")), say(Text("b"), Usage(3, 2), Done("stop"))
        a = Again("a", hang, *parts)  # the first would begin anew
        told = await self.taken_up(bench, bench.route(bench.target(a)), MADE)
        assert (told.text, told.outcomes) == ("ab", [("a", "failed"), ("a", "done")])

    async def test_one_that_only_tells_facts_begins(self, bench: Bench) -> None:
        told = await self.taken_up(bench, bench.route(bench.target(Acting("x", _parts(ProviderUnreachable("no")))),
                                                      bench.target("a"), attempts=1), MADE)  # fmt: skip
        assert told.outcomes == [("x", "failed"), ("a", "done")]
