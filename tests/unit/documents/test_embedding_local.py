from __future__ import annotations

import asyncio
import socket
from array import array
from pathlib import Path

import pytest

from headwater.documents.embedding import local as module
from headwater.documents.embedding import make_embedder
from headwater.documents.embedding.endpoint import EndpointEmbedder
from headwater.documents.embedding.local import LocalEmbedder
from headwater.documents.embedding.vectors import unit_bytes
from headwater.documents.settings import DocumentSettings
from headwater.errors import ConfigError


def cosine(one: bytes, other: bytes) -> float:
    return sum(a * b for a, b in zip(array("f", one), array("f", other), strict=True))


async def test_like_texts_are_near_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the local model went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    embedder = LocalEmbedder()
    dog, puppy, tax = await embedder.embed(["My dog barks.", "A puppy is barking.", "Taxes are due in April."])
    assert len(dog) == 256 * 4
    assert cosine(dog, dog) == pytest.approx(1.0, abs=1e-5)
    assert cosine(dog, puppy) > cosine(dog, tax) + 0.2
    assert (embedder.local, embedder.name) == (True, "wordllama-l2-supercat-256")
    await embedder.close()
    assert await embedder.embed(["My dog barks."]) == [dog]


async def test_a_text_gives_the_same_vector_alone_and_among_others() -> None:
    embedder = LocalEmbedder()
    texts = [f"text number {number}" for number in range(150)]
    together = await embedder.embed(texts)
    (alone,) = await embedder.embed([texts[140]])
    assert together[140] == alone
    assert await asyncio.gather(*(embedder.embed([text]) for text in texts[:4])) == [[one] for one in together[:4]]


async def test_texts_without_words_have_no_direction() -> None:
    assert await LocalEmbedder().embed([""]) == [bytes(1024)]
    assert await LocalEmbedder().embed([]) == []
    (odd,) = await LocalEmbedder().embed(["\ud800 \0 🙂"])
    assert len(odd) == 1024


def test_a_model_that_is_not_installed_is_told_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="has no weights"):
        LocalEmbedder(tmp_path)
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"install headwater\[local-embeddings\]"):
        LocalEmbedder()


def test_settings_choose_the_embedder() -> None:
    assert make_embedder(DocumentSettings()) is None
    assert isinstance(make_embedder(DocumentSettings(embedding="local")), LocalEmbedder)
    openai = make_embedder(DocumentSettings(embedding="openai", embedding_model="m"))
    assert isinstance(openai, EndpointEmbedder)
    assert not openai.local
    ollama = make_embedder(DocumentSettings(embedding="ollama", embedding_model="m"))
    assert ollama is not None
    assert ollama.local
    with pytest.raises(ConfigError, match="needs embedding_model"):
        make_embedder(DocumentSettings(embedding="ollama"))
    with pytest.raises(ConfigError):
        make_embedder(DocumentSettings(embedding="openai", embedding_model="m", embedding_url="nowhere"))


def test_what_has_no_direction_is_no_vector() -> None:
    assert unit_bytes([3.0, 4.0]) == array("f", [0.6, 0.8]).tobytes()
    for nothing in ([], [0.0, 0.0], [float("nan")], [float("inf"), 1.0]):
        assert unit_bytes(nothing) is None
