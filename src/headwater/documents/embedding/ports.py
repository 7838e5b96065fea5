"""The seam to what computes vectors: one Protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Embedder(Protocol):
    """Makes vectors of texts. Vectors are compared only with those of an embedder of the same `name`."""

    @property
    def name(self) -> str:
        """The model, and what else changes its vectors; at most 500 characters."""
        ...

    @property
    def local(self) -> bool:
        """Whether texts stay on this machine or its private network: only then may they be confidential."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        """One vector a text, in their order: little-endian float32 of length 1, or all 0 for a text without words.

        Raises `ProviderError`.
        """
        ...

    async def close(self) -> None: ...
