"""A scripted model server: real sockets, true wire formats, faults on demand. It knows nothing of Headwater.

In a test::

    async with Upstream() as upstream:                    # one port on 127.0.0.1, chosen by the system
        client = openai.AsyncOpenAI(base_url=upstream.openai_url, api_key="any")
        upstream.url                                      # root: Ollama's base URL
        upstream.attempts, upstream.attempts_for("key")   # chat requests seen, in all and by the script's `key`
        upstream.open_connections                         # sockets open now
        upstream.active                                   # chat answers under way now
        upstream.aborted                                  # answers whose client left before their end
        upstream.requests                                 # Recorded(method, path, headers, body, key), in order
        upstream.let("key", 5)                                # five more writes of a `gated` answer; without 5 the rest
        await upstream.until(lambda: upstream.aborted == 1)   # re-checked at every change; TimeoutError after 10 s

As a process: ``python -m tests.upstream --port 0`` prints its URL as the first line and serves until killed.
``GET /_control`` answers ``{"attempts","by_key","open_connections","active","aborted","requests"}``;
``POST /_control`` takes ``{"reset": true}`` and/or ``{"default": {script}}`` and answers the same.

Served: OpenAI ``/v1/chat/completions`` (stream and not), ``/v1/models``, ``/v1/responses`` (stream and not; those of
the background are kept: ``GET …/{id}?stream=true&starting_after=N`` goes on and counts for ``fault_times``,
``POST …/{id}/cancel`` adds to ``upstream.kept.cancelled``); Ollama ``/api/chat``, ``/api/tags``,
``/api/version``, ``/``; Anthropic ``/v1/messages`` (stream and not), ``/v1/models`` with an ``anthropic-version``
header; Gemini ``/v1beta/models/{model}:streamGenerateContent``, ``:generateContent``, ``/v1beta/models`` (key in
``x-goog-api-key``; its SSE lines end in CRLF unasked); Azure OpenAI
``/openai/deployments/{deployment}/chat/completions`` and ``/openai/models`` (key in ``api-key``).
A model whose name starts with ``missing`` is answered 404 as the real ones do.
``Upstream(api_key="k")`` answers 401 to another bearer key; ``Upstream(ssl=context)`` speaks TLS;
``Upstream(models=[…])`` sets the model list; ``Upstream(default=Script(…))`` the script of plain messages.

**Scripts.** When the last user message is JSON with a key ``script``, that object (all fields optional) decides;
`prompt(**fields)` builds such a message. Otherwise ``upstream.scripts[message]`` does, or the default script.
See `Script` for the fields:
``tokens text seed delay_ms first_delay_ms head_delay_ms reasoning refusal tool_calls n usage logprobs
finish_reason batch fault fault_times fault_after echo_prefix gated key``. The text follows from ``seed`` alone:
`Script.pieces()` are its tokens and `Script.answer()` is the whole text, for every choice the same. Where the prompt
ends with an assistant message that is the beginning of that text, only the rest is answered, as models with prefix
support do (all of it with ``echo_prefix``, as Mistral).

**Faults** (``fault``: names joined by ``+``, e.g. ``"crlf+chunk_bytes:7"``; ``fault_times: k`` limits them to the
first k requests of the same ``key``; "mid" is after ``fault_after`` tokens: half of them where it is not set, the whole
answer with its end mark where there are fewer):

=====================  ==================================================================================
refuse                 RST as soon as the request is read (`closed_url()` gives a port that nobody serves)
hang_before_headers    the request is read and never answered
cut_before_headers     FIN instead of an answer
hang_mid               silence after the mid, with the socket open
cut_mid_frame          FIN in the middle of a frame, inside the HTTP framing
cut_clean              the HTTP body ends as it should, in the middle of the answer (no finish, no end mark)
rst_mid                RST after the mid
hang_end               everything is sent, but the HTTP body never ends
garbage                a frame that is no JSON after the mid
not_a_chunk            a frame that is JSON but nothing of the protocol
garbage_http           bytes that are not HTTP, instead of an answer
error_200              status 200, ``application/json`` body with an error object
error_mid              an error object as a frame after the mid, then the end of the body
error_event            the same under ``event: error`` (OpenAI)
html                   502 with an HTML page; ``html_200`` the same with status 200
status:N               HTTP error N in the API's own form; ``+retry_after`` or ``+retry_after:S`` adds the header
no_done                the end mark is missing (OpenAI: `[DONE]`; Ollama: the ``done`` line)
no_finish              no finish_reason and no end mark (the same as cut_clean)
slow_drip              one byte a write
comments               SSE comments between frames (Ollama: empty lines)
crlf                   CRLF line ends in the body;  ``cr`` CR alone;  ``bom`` a byte order mark first
chunk_bytes:N          the body is re-cut into writes (and HTTP chunks) of N bytes
one_write              head and body as one write
oversize_head          a response head of 200 KiB;  ``early_hints`` a 103 response first
content_length         the body with a length;  ``content_length_short`` cut before that length
close_delimited        a body that ends with the connection;  ``cut_close_delimited`` also in mid-answer
gzip                   a compressed body, asked for or not;  ``redirect`` a 302 to elsewhere
stale                  the connection is closed after the answer without ``Connection: close``
stale_rst              the next request on the same connection gets RST
usage_every_chunk      cumulative usage on every chunk (vLLM);  ``usage_on_last`` on the finish chunk
json_answer            a whole ``chat.completion`` as JSON although a stream was asked for
no_index               tool call deltas without an index (Gemini's compatible endpoint)
reject_stream_options  400 when the request has ``stream_options`` (older compatible servers)
=====================  ==================================================================================

Every answer of the same script is byte for byte the same. Nothing here sleeps except as scripted.
"""

from .script import Script, ScriptedCall, prompt
from .server import Recorded, Upstream, closed_url

__all__ = ["Recorded", "Script", "ScriptedCall", "Upstream", "closed_url", "prompt"]
