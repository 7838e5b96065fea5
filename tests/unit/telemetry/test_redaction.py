"""No secret in a line: the server's own by their values, others by their looks; and words that are none stay."""

from __future__ import annotations

import pytest

from headwater.telemetry.redaction import HIDDEN, Redactor

OURS = "correct-horse-battery"
redactor = Redactor([OURS, "short", "", "correct-horse-battery-staple"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"key {OURS} refused", f"key {HIDDEN} refused"),
        ("correct-horse-battery-staple", HIDDEN),
        ("Authorization: Bearer abcdefgh12345", f"Authorization: Bearer {HIDDEN}"),
        ("Incorrect API key provided: sk-proj-abc_DEF-123456", f"Incorrect API key provided: {HIDDEN}"),
        ("GET /v1/streams/x?ticket=abc.def.ghijk&after=1.2", f"GET /v1/streams/x?ticket={HIDDEN}&after=1.2"),
        ('{"api_key": "abcdefghij"}', f'{{"api_key": "{HIDDEN}"}}'),
        ("postgresql://ann:secret@db/headwater", f"postgresql://{HIDDEN}@db/headwater"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", f"token {HIDDEN}"),
        ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", HIDDEN),
    ],
)
def test_secrets_are_hidden(text: str, told: str) -> None:
    assert redactor.text(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "short",
        "the key is missing",
        "monkey=business",
        "http://127.0.0.1:8000/v1",
        "a task-oriented model",
        "tokens: 12345678",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert redactor.text(text) == text


def test_fields_are_hidden_by_their_names_and_all_through() -> None:
    fields = {
        "Authorization": "x", "api_key": "y", "prompt_tokens": 12, "empty_secret": "", "ok": True, "none": None,
        "nested": {"password": "p", "list": [OURS, 1.5]}, "thing": ValueError(OURS),
    }  # fmt: skip
    assert redactor.value(fields) == {
        "Authorization": HIDDEN, "api_key": HIDDEN, "prompt_tokens": 12, "empty_secret": "", "ok": True, "none": None,
        "nested": {"password": HIDDEN, "list": [HIDDEN, 1.5]}, "thing": HIDDEN,
    }  # fmt: skip


def test_without_secrets_looks_are_enough() -> None:
    assert Redactor().text(f"{OURS} Basic dXNlcjpwYXNz") == f"{OURS} Basic {HIDDEN}"
