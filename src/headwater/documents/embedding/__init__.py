"""Vectors of texts: from an endpoint, or from a small model in this process."""

from __future__ import annotations

from ...errors import ConfigError
from ..settings import DocumentSettings
from .ports import Embedder

__all__ = ["Embedder", "make_embedder"]


def make_embedder(settings: DocumentSettings) -> Embedder | None:
    """None where no vectors are configured. Raises `ConfigError`; opens no connection."""
    match settings.embedding:
        case "none":
            return None
        case "local":
            from .local import LocalEmbedder

            return LocalEmbedder()
        case "openai" | "ollama":
            from .endpoint import EndpointEmbedder

            if not settings.embedding_model:
                raise ConfigError(f"embedding {settings.embedding} needs embedding_model")
            return EndpointEmbedder(settings)
