"""The SSE encoder and parsers against vectors after the web-platform-tests' `eventsource/` files and against a
second implementation of the standard, written for clarity alone.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.errors import FrameTooLarge
from headwater.sse import DataParser, Message, Parser, comment, frame, retry


def dispatched(body: bytes) -> list[Message]:
    return Parser().feed(body)


def data_of(body: bytes) -> list[str]:
    return [message.data for message in dispatched(body)]


def cut(body: bytes, points: list[int]) -> list[bytes]:
    """`body` in pieces, cut at the points (taken modulo its length), empty pieces included."""
    ends = sorted(point % (len(body) + 1) for point in points)
    return [body[start:end] for start, end in zip([0, *ends], [*ends, len(body)], strict=True)]


def by_the_standard(body: bytes) -> tuple[list[Message], str, int | None, int]:
    """Sections 9.2.5 and 9.2.6 read aloud: messages, last event id, reconnection time, comments."""
    text = codecs.getincrementaldecoder("utf-8")(errors="replace").decode(body).removeprefix("\ufeff")
    *lines, _unterminated = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    messages: list[Message] = []
    last_event_id = id_buffer = ""
    data, event, comments = "", "", 0
    time: int | None = None
    block_time: int | None = None
    for line in lines:
        if line == "":
            last_event_id = id_buffer
            if data:
                messages.append(Message(event or "message", data[:-1], last_event_id, block_time))
            data, event, block_time = "", "", None
            continue
        field, value = line.split(":", 1) if ":" in line else (line, "")
        value = value[1:] if value[:1] == " " else value
        if field == "":
            comments += 1
        elif field == "data":
            data += value + "\n"
        elif field == "event":
            event = value
        elif field == "id" and "\0" not in value:
            id_buffer = value
        elif field == "retry" and value.isascii() and value.isdigit() and len(value) <= 15:
            time = block_time = int(value)
    return messages, last_event_id, time, comments


# Pieces that make interesting bodies far more often than random bytes do.
PIECES = [b"data", b"data: x", b"data:y", b": hb", b"event: e", b"id: 1.2", b"id: \0", b"id", b"retry: 5", b"retry: x"]
PIECES += [b"\n", b"\r", b"\r\n", b"\n\n", b":", b" ", b"\xef\xbb\xbf", b"\xef", b"\xff", b"\xc3\xa9", b"\xe2\x82"]
TANGLED = [
    b"\xef\xbb\xbfdata: a\rdata: b\r\nid: 1\n\n\xef\xbb\xbfdata: no\n\n: hb\r\n\r\ndata: c\r\rdata: d\n\n",
    b"data: a\r\ndata: b\r\n\r\n: hb\n: hb\ndata: c\n\n\ndata: d\n\nevent: e\ndata: \xe2\x82\xac\nretry: 7\n\n",
]
bodies = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=40).map(b"".join)
cuts = st.lists(st.integers(0, 10_000), max_size=12)


class TestVectors:
    """Each named for the web-platform-tests file whose case it restates."""

    def test_format_bom(self) -> None:
        """Only the mark at the very start goes; a later one makes the field's name unknown."""
        assert data_of(b"\xef\xbb\xbfdata:a\n\n\xef\xbb\xbfdata:b\n\ndata:c\n\n") == ["a", "c"]

    def test_format_bom_2(self) -> None:
        assert data_of(b"\xef\xbb\xbf\xef\xbb\xbfdata:a\n\ndata:b\n\n") == ["b"]

    def test_format_comments(self) -> None:
        long = b"y" * 2048
        parser = Parser()
        body = b"data:a\r:\0\n:\r\ndata:b\n:" + long + b"\rdata:c\n:data:no\r:" + long + b"\ndata:d\n\n"
        assert [message.data for message in parser.feed(body)] == ["a\nb\nc\nd"]
        assert parser.comments == 5

    def test_format_data_before_final_empty_line(self) -> None:
        """An event without its blank line is dropped, and its id with it."""
        parser = Parser()
        assert [m.data for m in parser.feed(b"retry:900\ndata:whole\n\nid:lost\ndata:half")] == ["whole"]
        parser.close()
        assert (parser.last_event_id, parser.retry_ms) == ("", 900)
        assert [(m.data, m.id) for m in parser.feed(b"data:next\n\n")] == [("next", "")]

    def test_format_field_data(self) -> None:
        assert data_of(b"data:\n\ndata\ndata\n\ndata:z\n\n") == ["", "\n", "z"]

    def test_format_field_event(self) -> None:
        """The name holds for one event only."""
        assert [m.event for m in dispatched(b"event:chunk\ndata:x\n\ndata:x\n\n")] == ["chunk", "message"]

    def test_format_field_event_empty(self) -> None:
        assert [m.event for m in dispatched(b"event: \ndata:x\n\n")] == ["message"]

    def test_format_field_id(self) -> None:
        parser = Parser()
        assert [m.id for m in parser.feed("id: …7\ndata: x\n\n".encode())] == ["…7"]
        assert parser.last_event_id == "…7"

    def test_format_field_id_2(self) -> None:
        """The id stays in force, within a body and into the next one."""
        parser = Parser()
        assert [m.id for m in parser.feed(b"id: 4\ndata: x\n\ndata: y\n\n")] == ["4", "4"]
        parser.close()
        assert [m.id for m in parser.feed(b"data: z\n\n")] == ["4"]

    def test_format_field_id_3(self) -> None:
        """An empty id resets it, also in an event without data."""
        assert [m.id for m in dispatched(b"id:1\ndata:a\n\nid\n\ndata:b\n\nid:2\n\ndata:c\n\n")] == ["1", "", "2"]

    @pytest.mark.parametrize("bad", [b"\0", b"\0\0", b"a\0", b"a\0b"])
    def test_format_field_id_null(self, bad: bytes) -> None:
        assert [m.id for m in dispatched(b"id: ok\nid: " + bad + b"\ndata: x\n\n")] == ["ok"]

    def test_format_field_parsing(self) -> None:
        """Names are exact: no case folding, no trimming, no NUL."""
        body = b"data:\0\ndata:  b\rDATA:1\ndata\0:2\ndata:c\r\0data:4\nda-ta:3\rdata_5\n"
        body += b"data:d\rdata:\r\n data:6\ndata:e\n\n"
        assert data_of(body) == ["\0\n b\nc\nd\n\ne"]

    def test_format_field_retry(self) -> None:
        """Leading zeros are digits like others."""
        parser = Parser()
        assert [m.retry_ms for m in parser.feed(b"retry:0750\ndata:x\n\ndata:y\n\n")] == [750, None]
        assert parser.retry_ms == 750

    @pytest.mark.parametrize("bad", [b"1000x", b"-5", b"1.5", b"0x10", b" 7", "٣".encode(), b"9" * 5000])
    def test_format_field_retry_bogus(self, bad: bytes) -> None:
        parser = Parser()
        parser.feed(b"retry:20\nretry: " + bad + b"\ndata:x\n\n")
        assert parser.retry_ms == 20

    @pytest.mark.parametrize("empty", [b"retry\n", b"retry:\n", b"retry: \n"])
    def test_format_field_retry_empty(self, empty: bytes) -> None:
        parser = Parser()
        assert [m.data for m in parser.feed(empty + b"data:x\n\n")] == ["x"]
        assert parser.retry_ms is None

    def test_format_field_unknown(self) -> None:
        assert data_of(b"data:a\n data\ndata\nother:b\nplain words\n:a comment\ndata:c\n\n") == ["a\n\nc"]

    def test_format_leading_space(self) -> None:
        """One space goes, a tab stays, and a second space stays."""
        assert data_of(b"data:\ta\rdata: \ndata:b\ndata:  c\n\n") == ["\ta\n\nb\n c"]

    def test_format_newlines(self) -> None:
        assert data_of(b"data:a\r\ndata\ndata:b\r\n\r\n") == ["a\n\nb"]

    @pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r\n", b"\r\n\n", b"\n\r\n", b"\n\r", b"\r\r\n"])
    def test_format_newlines_that_end_an_event(self, end: bytes) -> None:
        assert data_of(b"data: a" + end + b"data: b" + end) == ["a", "b"]

    def test_format_null_character(self) -> None:
        assert data_of(b"data:\0\n\n") == ["\0"]

    def test_format_utf_8(self) -> None:
        assert data_of("data:ok…\n\n".encode()) == ["ok…"]

    def test_invalid_utf_8_is_replaced_as_in_a_browser(self) -> None:
        """One U+FFFD for each maximal part of a sequence, as the Encoding standard's decoder gives."""
        assert data_of(b"data:\xe2\x82\xff\xf0\x80\n\n") == ["�" * 4]
        assert [m.event for m in dispatched(b"event:\xff\ndata\n\n")] == ["�"]


class TestParser:
    def test_events_without_data_are_not_dispatched(self) -> None:
        assert dispatched(b"\n\n: hb\n\nevent: e\n\nretry: 5\n\n") == []

    @pytest.mark.parametrize("parser", [Parser, DataParser])
    def test_cr_at_the_end_of_a_read_dispatches_at_once(self, parser: Callable[[], Parser | DataParser]) -> None:
        """The LF of a CRLF may be a second away, or never come."""
        p = parser()
        assert len(p.feed(b"data: a\r\n\r")) == 1
        assert len(p.feed(b"")) == 0
        assert len(p.feed(b"\ndata: b\r\n\r")) == 1
        assert len(p.feed(b"\n")) == 0
        assert len(p.feed(b"data: c\n\n")) == 1

    @given(bodies)
    @example(b"\xef\xbb")
    def test_it_does_what_the_standard_says(self, body: bytes) -> None:
        parser = Parser()
        messages = parser.feed(body)
        assert (messages, parser.last_event_id, parser.retry_ms, parser.comments) == by_the_standard(body)

    @pytest.mark.parametrize("body", TANGLED)
    def test_every_two_cuts_give_the_same_messages(self, body: bytes) -> None:
        """With an empty read at the second cut, which must change nothing."""
        for first in range(len(body) + 1):
            for second in range(first, len(body) + 1):
                parser = Parser()
                messages = [m for piece in cut(body, [first, second, second]) for m in parser.feed(piece)]
                state = (messages, parser.last_event_id, parser.retry_ms, parser.comments)
                assert state == by_the_standard(body), (first, second)

    @given(bodies, cuts)
    def test_any_chunking_gives_the_same_messages(self, body: bytes, points: list[int]) -> None:
        parser = Parser()
        messages = [message for piece in cut(body, points) for message in parser.feed(piece)]
        assert (messages, parser.last_event_id, parser.retry_ms, parser.comments) == by_the_standard(body)


class TestDataParser:
    def test_whole_frames(self) -> None:
        assert DataParser().feed(b'data: {"a":1}\n\ndata: [DONE]\n\n') == [b'{"a":1}', b"[DONE]"]

    def test_names_and_ids_are_passed_over(self) -> None:
        assert DataParser().feed(b"event: text\nid: 1.4\ndata: x\ndata: y\n\n") == [b"x\ny"]

    def test_comments_are_counted_as_their_lines_end(self) -> None:
        """A comment that no blank line follows is life all the same (FAILURES: keep-alive, mattermost #985)."""
        parser = DataParser()
        assert parser.feed(b": hb\n\n: OPENROUTER PROCESSING\n") == []
        assert parser.comments == 2
        assert not parser.unterminated

    @pytest.mark.parametrize("rest", [b"data: {", b"d", b"data: x\n", b"data: x\r", b"event: e\n", b": h"])
    def test_unterminated_tells_a_cut_body_from_a_whole_one(self, rest: bytes) -> None:
        """FAILURES: truncation that looks like success."""
        parser = DataParser()
        assert parser.feed(b"data: a\n\n" + rest) == [b"a"]
        assert parser.unterminated
        parser.close()
        assert not parser.unterminated
        assert parser.feed(b"\xef\xbb\xbfdata: b\n\n") == [b"b"]

    @pytest.mark.parametrize("rest", [b"", b"\n", b": hb\n", b"\r\n", b"data: b\r\r", b"id: 1\n\n"])
    def test_a_whole_body_is_not_unterminated(self, rest: bytes) -> None:
        whole, in_bytes = DataParser(), DataParser()
        whole.feed(b"data: a\n\n" + rest)
        for byte in b"data: a\n\n" + rest:
            in_bytes.feed(bytes([byte]))
        assert not whole.unterminated
        assert not in_bytes.unterminated

    @pytest.mark.parametrize("body", TANGLED)
    def test_every_two_cuts_yield_the_same_data(self, body: bytes) -> None:
        messages, _, _, comments = by_the_standard(body)
        for first in range(len(body) + 1):
            for second in range(first, len(body) + 1):
                parser = DataParser()
                payloads = [p for piece in cut(body, [first, second, second]) for p in parser.feed(piece)]
                assert [payload.decode() for payload in payloads] == [m.data for m in messages], (first, second)
                assert (parser.comments, parser.unterminated) == (comments, False)

    @given(bodies, cuts, st.sampled_from([1, 7, 30, 10_000]))
    @example(b"data: x\n\n\ndata: y\n\n", [], 10_000)
    @example(b"data\n\ndata: y\n\n", [5], 10_000)
    def test_it_yields_exactly_the_data_of_the_full_parser(self, body: bytes, points: list[int], fast: int) -> None:
        """Whatever the chunking, and whether reads are small enough for the fast path or not."""
        parser = DataParser()
        parser._fast_bytes = fast
        payloads = [payload for piece in cut(body, points) for payload in parser.feed(piece)]
        messages, _, _, comments = by_the_standard(body)
        assert [payload.decode(errors="replace") for payload in payloads] == [m.data for m in messages]
        assert parser.comments == comments


@pytest.mark.parametrize("make", [Parser, DataParser])
class TestLimits:
    """Security limits: a peer cannot make a parser hold more than it was told to."""

    def test_a_line_that_never_ends(self, make: type[Parser] | type[DataParser]) -> None:
        parser = make(max_line_bytes=100)
        parser.feed(b"data: " + b"x" * 94)
        with pytest.raises(FrameTooLarge, match="line"):
            parser.feed(b"x")

    def test_an_event_that_never_ends(self, make: type[Parser] | type[DataParser]) -> None:
        parser = make(max_event_bytes=100)
        for _ in range(10):
            parser.feed(b"data: 123456789\n")
        with pytest.raises(FrameTooLarge, match="event"):
            parser.feed(b"data\n")

    def test_empty_data_lines_count_too(self, make: type[Parser] | type[DataParser]) -> None:
        with pytest.raises(FrameTooLarge):
            make(max_event_bytes=100).feed(b"data\n" * 101)

    @pytest.mark.parametrize("limits", [(20, 100), (100, 20)])
    def test_the_smaller_limit_holds(self, make: type[Parser] | type[DataParser], limits: tuple[int, int]) -> None:
        with pytest.raises(FrameTooLarge):
            make(max_line_bytes=limits[0], max_event_bytes=limits[1]).feed(b"data: 123456789012345678901\n\n")

    def test_many_small_events_in_one_large_read_are_fine(self, make: type[Parser] | type[DataParser]) -> None:
        assert len(make(max_line_bytes=20, max_event_bytes=20).feed(b"data: 1\n\n" * 1000)) == 1000

    @given(body=bodies, points=cuts, limit=st.integers(1, 30))
    def test_the_limit_does_not_depend_on_the_chunking(
        self, make: type[Parser] | type[DataParser], body: bytes, points: list[int], limit: int
    ) -> None:
        def refused(pieces: list[bytes]) -> bool:
            parser = make(max_line_bytes=limit, max_event_bytes=limit)
            try:
                for piece in pieces:
                    parser.feed(piece)
            except FrameTooLarge:
                return True
            return False

        assert refused([body]) == refused(cut(body, points))


class TestEncoder:
    def test_frames(self) -> None:
        assert frame(b"{}") == b"data: {}\n\n"
        assert frame(b"{}", id=b"1.2") == b"id: 1.2\ndata: {}\n\n"
        assert frame(b"{}", event=b"text") == b"event: text\ndata: {}\n\n"
        assert frame(b"{}", event=b"text", id=b"1.2") == b"event: text\nid: 1.2\ndata: {}\n\n"

    def test_retry_and_comment(self) -> None:
        assert retry(2000) == b"retry: 2000\n\n"
        assert comment(b"hb") == b": hb\n\n"
        assert comment(b"a\r\nb\rdata: c\n") == b": a\n: b\n: data: c\n: \n\n"

    def test_a_reconnection_time_is_not_negative(self) -> None:
        with pytest.raises(ValueError, match="negative"):
            retry(-1)

    @pytest.mark.parametrize("bad", [b"a\nb", b"a\rb", b"a\0b", b"\n"])
    def test_names_and_ids_are_one_line(self, bad: bytes) -> None:
        """CWE-93: a line break in them would forge fields."""
        with pytest.raises(ValueError, match="event name"):
            frame(b"x", event=bad)
        with pytest.raises(ValueError, match="id"):
            frame(b"x", id=bad)

    def test_a_payload_cannot_break_out_of_its_frame(self) -> None:
        """CWE-93."""
        (message,) = dispatched(frame(b"a\n\nevent: forged\rdata: x\r\n\r\nid: 9", event=b"text", id=b"1.1"))
        assert message == Message("text", "a\n\nevent: forged\ndata: x\n\nid: 9", "1.1")

    @given(st.binary(max_size=60), st.none() | st.text("aé._", min_size=1), st.none() | st.text("0123456789."))
    def test_what_is_framed_is_parsed_back(self, data: bytes, event: str | None, id: str | None) -> None:
        encoded = frame(data, event=None if event is None else event.encode(), id=None if id is None else id.encode())
        text = data.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
        noise = comment(b"hb") + retry(5)
        expected = Message(event or "message", text, id or "")
        assert dispatched(noise + encoded + noise) == [expected]
        assert [payload.decode(errors="replace") for payload in DataParser().feed(encoded)] == [text]
