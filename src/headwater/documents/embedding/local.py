"""A small model in this process: the token vectors of WordLlama, averaged. Never goes to the network.

The weights and the tokenizer lie inside the wheel `wordllama` (the extra `local-embeddings`). The package itself is
not imported: it looks for them in a cache and then on the network, and it sets up logging for the whole process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

NAME = "wordllama-l2-supercat-256"
_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_TENSOR = "embedding.weight"
# Texts at once: bounds what the tokens' vectors take to some 60 MB, whatever is asked.
_BATCH = 64
_MAX_CHARACTERS = 20_000


class LocalEmbedder:
    """Loads the model at its first use, in a thread (32 MB, a quarter of a second). `home`: the installed package."""

    name = NAME
    local = True

    def __init__(self, home: Path | None = None) -> None:
        """Raises `ConfigError` where the model is not installed."""
        self._home = home or _installed()
        for file in (_WEIGHTS, _TOKENIZER):
            if not (self._home / file).is_file():
                raise ConfigError(f"embedding local: this release of wordllama has no {file}")
        self._model: _Model | None = None
        self._loading = threading.Lock()

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        vectors: list[bytes] = []
        for at in range(0, len(texts), _BATCH):
            vectors += await asyncio.to_thread(self._embed, texts[at : at + _BATCH])
        return vectors

    async def close(self) -> None:
        self._model = None

    def _embed(self, texts: Sequence[str]) -> list[bytes]:
        with self._loading:
            model = self._model = self._model or _Model(self._home)
        return [model.vector(text[:_MAX_CHARACTERS]) for text in texts]


class _Model:
    def __init__(self, home: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self._weights: np.ndarray = load_file(home / _WEIGHTS)[_TENSOR]
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(home / _TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def vector(self, text: str) -> bytes:
        from .vectors import unit_bytes

        tokens = self._tokenizer.encode(_encodable(text), add_special_tokens=False).ids
        no_words = bytes(4 * self._weights.shape[1])
        if not tokens:
            return no_words
        # Ids beyond the table are the tokenizer's own additions (padding).
        last = self._weights.shape[0] - 1
        rows = self._weights[[min(token, last) for token in tokens]]
        return unit_bytes(rows.astype("<f4").mean(axis=0)) or no_words


def _encodable(text: str) -> str:
    """Lone surrogates would be refused by the tokenizer."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _installed() -> Path:
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("embedding local: install headwater[local-embeddings]")
    return Path(next(iter(spec.submodule_search_locations)))
