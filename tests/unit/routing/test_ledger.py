"""What the attempts used and cost, on every path by which a stream ends."""

from __future__ import annotations

from typing import Any

import pytest

from headwater.errors import InputError, ProviderTruncated
from headwater.events import Done, Error, Event, Reasoning, Text, Usage
from headwater.routing import Target
from headwater.routing.ledger import NOTHING, Ledger, cost_of
from headwater.tables import Price
from tests.conformance.providers.kit import KeepingWriter

from .kit import Acting, Clock, hang, target

CUT = ProviderTruncated("cut", provider="a")
PRICE = Price(input=1_000_000, output=2_000_000)


class Book:
    """A ledger over a writer that keeps; texts of four characters are one token."""

    def __init__(self, *held: Event, price: Price | None = PRICE) -> None:
        self.writer = KeepingWriter(held=held)
        self.clock = Clock()
        self.ledger = Ledger(self.writer.fold, 10, self.clock, control=self.writer)
        self.price = price

    def target(self, name: str = "a", **fields: Any) -> Target:
        return target(Acting(name, hang), "m", **{"price": self.price, **fields})

    def say(self, tokens: int) -> None:
        self.writer.write([Text("abcd" * tokens)])

    def settle(self, usage: Usage | None = None, terminal: Done | Error | None = None) -> dict[str, Any]:
        """As the writer does."""
        usage = usage or self.ledger.usage(Usage(10, 0, "estimated"))
        self.usage = self.writer.fold.usage = usage
        facts = self.ledger.facts(usage, terminal or Done("stop"))
        assert self.writer.fold.usage is usage, "the stream's record would tell other counts than its events"
        return facts


def tokens(facts: dict[str, Any]) -> list[tuple[int, int] | None]:
    return [
        (fact["prompt_tokens"], fact["completion_tokens"]) if "prompt_tokens" in fact else None
        for fact in facts["attempts"]
    ]


def test_a_price() -> None:
    price = Price(input=1, output=2, cached_input=0.5, request=0.25)
    assert cost_of(Usage(3_000_000, 1_000_000, cached_tokens=2_000_000), price) == 1 + 1 + 2 + 0.25
    assert cost_of(Usage(1_000_000, 0, cached_tokens=2_000_000), Price(input=1)) == 1  # more cached than there was


def test_one_attempt_has_all_of_it() -> None:
    book = Book()
    attempt = book.ledger.open(book.target(), book.writer)
    book.clock.now += 0.5
    book.say(3)
    book.clock.now += 1
    facts = book.settle(Usage(11, 3))
    book.ledger.close(attempt, "done")  # as when `run` returns, after the end was written
    assert facts == {
        "attempts": [
            {
                "provider": "a",
                "model": "m",
                "outcome": "done",
                "began_ms": 0.0,
                "duration_ms": 1500.0,
                "prompt_tokens": 11,
                "completion_tokens": 3,
                "cost": 17.0,
            }
        ],
        "duration_ms": 1500.0,
        "cost": {"amount": 17.0, "currency": "USD", "source": "exact"},
    }


def test_a_failure_before_content_costs_nothing() -> None:
    book = Book()
    book.ledger.close(book.ledger.open(book.target(), book.writer), "failed", CUT)
    assert book.ledger.spent == 0
    assert book.ledger.carried is NOTHING
    book.ledger.open(book.target("b"), book.writer)
    facts = book.settle(Usage(11, 3))
    assert tokens(facts) == [None, (11, 3)]
    assert facts["attempts"][0] | {"began_ms": 0, "duration_ms": 0} == {
        "provider": "a", "model": "m", "outcome": "failed", "began_ms": 0, "duration_ms": 0,
        "reason": "provider_truncated", "message": "cut", "status": 502,
    }  # fmt: skip


def test_only_a_providers_error_has_a_status() -> None:
    book = Book()
    book.ledger.close(book.ledger.open(book.target(), book.writer), "failed", InputError("no"))
    assert "status" not in book.settle()["attempts"][0]


def test_a_continuation_is_summed() -> None:
    """The first part is estimated, so the sum is; the second's prompt holds the first part's text."""
    book = Book()
    first = book.ledger.open(book.target(), book.writer)
    book.say(8)
    book.ledger.close(first, "failed", CUT)
    assert book.ledger.carried == Usage(10, 8, "estimated")
    assert book.ledger.spent == 26
    book.ledger.open(book.target("b"), book.writer)
    book.say(2)
    facts = book.settle(Usage(10 + 18, 8 + 2, "estimated"))
    assert tokens(facts) == [(10, 8), (18, 2)]
    assert facts["cost"] == {"amount": 48.0, "currency": "USD", "source": "estimated"}


def test_a_cancel_in_mid_answer() -> None:
    """No usage on abort: vercel/ai #7628."""
    book = Book()
    first = book.ledger.open(book.target(), book.writer)
    book.say(8)
    book.ledger.close(first, "failed", CUT)
    book.ledger.open(book.target("b"), book.writer)
    book.say(2)
    facts = book.settle(terminal=Done("cancelled"))
    assert book.usage == Usage(10 + 18, 8 + 2, "estimated")
    assert tokens(facts) == [(10, 8), (18, 2)]
    assert [fact["outcome"] for fact in facts["attempts"]] == ["failed", "cancelled"]


def test_an_end_from_outside_is_a_failure() -> None:
    book = Book()
    book.ledger.open(book.target(), book.writer)
    facts = book.settle(terminal=Error("provider_timeout", "took too long"))
    (attempt,) = facts["attempts"]
    assert (attempt["outcome"], attempt["reason"]) == ("failed", "provider_timeout")
    assert attempt["message"] == "took too long"


def test_a_cancel_before_any_attempt() -> None:
    book = Book()
    facts = book.settle(terminal=Done("cancelled"))
    assert book.usage == Usage(10, 0, "estimated")
    assert facts == {"attempts": [], "duration_ms": 0.0}


def test_thinking_counts() -> None:
    book = Book()
    attempt = book.ledger.open(book.target(), book.writer)
    book.writer.write([Reasoning("abcd" * 5)])
    book.ledger.close(attempt, "failed", CUT)
    assert book.ledger.carried == Usage(10, 5, "estimated", reasoning_tokens=5)
    book.ledger.open(book.target(), book.writer)
    book.settle(Usage(20, 9, "estimated", reasoning_tokens=6))
    assert book.ledger._attempts[1].usage == Usage(10, 4, "estimated", reasoning_tokens=1)


def test_who_lost_a_race_has_used_nothing_that_is_known() -> None:
    book = Book()
    lanes = KeepingWriter(), KeepingWriter()
    book.ledger.open(book.target("a"), lanes[0])
    book.ledger.open(book.target("b"), lanes[1])
    assert book.ledger.won(lanes[1]).provider.name == "b"
    book.say(2)
    facts = book.settle(Usage(10, 2))
    assert [fact["outcome"] for fact in facts["attempts"]] == ["lost", "done"]
    assert tokens(facts) == [None, (10, 2)]


def test_the_same_generation_asked_for_again_is_one() -> None:
    """A background response that was re-attached to tells its whole usage."""
    book = Book()
    first = book.ledger.open(book.target(), book.writer)
    book.say(8)
    book.ledger.close(first, "failed", CUT)
    failing = book.ledger.open(book.target(), book.writer, rejoins=True)
    assert book.ledger.carried is NOTHING
    book.ledger.close(failing, "failed", CUT)
    assert book.ledger.carried == Usage(10, 8, "estimated")
    book.ledger.open(book.target(), book.writer, rejoins=True)
    book.say(2)
    facts = book.settle(Usage(11, 10))
    assert tokens(facts) == [None, None, (11, 10)]
    assert facts["cost"] == {"amount": 31.0, "currency": "USD", "source": "exact"}


def test_rejoining_what_has_given_nothing() -> None:
    book = Book()
    book.ledger.close(book.ledger.open(book.target(), book.writer), "failed", CUT)
    book.ledger.open(book.target(), book.writer, rejoins=True)
    assert book.ledger.count == 2
    assert tokens(book.settle(Usage(10, 2))) == [None, (10, 2)]


class TestTakenUp:
    """A stream whose first part came from a process that is gone."""

    def test_its_usage_covers_both_parts_and_its_cost_is_unknown(self) -> None:
        book = Book(Text("abcd" * 8))
        assert book.ledger.carried == Usage(10, 8, "estimated")
        book.ledger.open(book.target(), book.writer)
        book.say(2)
        facts = book.settle()
        assert book.usage == Usage(28, 10, "estimated")
        assert tokens(facts) == [(18, 2)]
        assert "cost" not in facts

    def test_the_same_generation_costs_what_it_tells(self) -> None:
        book = Book(Text("abcd" * 8))
        book.ledger.open(book.target(), book.writer, rejoins=True)
        book.say(2)
        facts = book.settle(Usage(10, 10))
        assert facts["cost"] == {"amount": 30.0, "currency": "USD", "source": "exact"}

    def test_without_an_attempt(self) -> None:
        book = Book(Text("abcd" * 8))
        book.settle(terminal=Done("cancelled"))
        assert book.usage == Usage(10, 8, "estimated")


@pytest.mark.parametrize("prices", [(None, None), (PRICE, None), (PRICE, Price(input=1, currency="EUR"))])
def test_a_cost_that_cannot_be_told_is_not(prices: tuple[Price | None, ...]) -> None:
    book = Book()
    for price in prices:
        attempt = book.ledger.open(book.target(price=price), book.writer)
        book.say(1)
        book.ledger.close(attempt, "failed", CUT)
    facts = book.settle()
    assert "cost" not in facts
    assert ("cost" in facts["attempts"][1]) == (prices[1] is not None)


def test_closing_twice_changes_nothing() -> None:
    book = Book()
    attempt = book.ledger.open(book.target(), book.writer)
    book.ledger.close(attempt, "lost")
    book.ledger.close(attempt, "failed", CUT)
    assert (attempt.outcome, attempt.error) == ("lost", None)


def test_the_first_content_has_its_time() -> None:
    class Timed(KeepingWriter):
        @property
        def first_content_s(self) -> float | None:
            return 1000.25

    writer = Timed()
    ledger = Ledger(writer.fold, 10, Clock(), control=writer)
    assert ledger.facts(Usage(1, 1), Done("stop"))["first_token_ms"] == 250.0


class TestToldBeforeItBrokeOff:
    """A provider may tell usage early, and fail after that: it is that attempt's, not the stream's."""

    def test_after_content(self) -> None:
        book = Book()
        first = book.ledger.open(book.target(), book.writer)
        book.say(8)
        book.writer.write([Usage(100, 50)])
        book.ledger.close(first, "failed", CUT)
        assert book.writer.fold.usage is None
        assert book.ledger.carried == Usage(100, 50)
        book.ledger.open(book.target("b"), book.writer)
        book.say(2)
        facts = book.settle()
        assert book.usage == Usage(118, 52, "estimated")
        assert tokens(facts) == [(100, 50), (18, 2)]

    def test_before_content(self) -> None:
        book = Book()
        first = book.ledger.open(book.target(), book.writer)
        book.writer.write([Usage(100, 50)])
        book.ledger.close(first, "failed", CUT)
        assert book.writer.fold.usage is None
        book.ledger.open(book.target("b"), book.writer)
        book.say(2)
        assert tokens(book.settle()) == [None, (10, 2)]

    def test_before_a_crash(self) -> None:
        book = Book(Text("abcd" * 8), Usage(100, 50))
        assert book.ledger.carried == Usage(100, 50)
        assert book.writer.fold.usage is None
