"""The settings of documents: what is kept, how it is searched, and what computes the vectors."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

EmbeddingKind: TypeAlias = Literal["none", "openai", "ollama", "local"]


class DocumentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds and bytes, as the names say. Defaults are the documented ones; `repr` leaves the key out."""

    max_documents: int = 1000
    """Documents in one workspace, those of its threads included. From 1."""
    max_versions: int = 10
    """Versions of one document that are kept, the version in force always among them. From 1."""
    max_metadata_bytes: int = 16_384
    """A document's metadata as JSON."""
    search_candidates: int = 60
    """Passages that each way of searching puts forward, before they are merged. From 10 to 1000."""
    similarity_floor: float = 0.25
    """The cosine at which two texts have nothing to do with each other: it scores 0. Depends on the model. 0 to 0.9."""
    query_timeout_s: float = 5.0
    """How long the question's vector may take, before the search goes on with words alone."""
    embedding_rest_s: float = 10.0
    """After a question's vector failed, searches use words alone for this long."""
    lexical_cache_bytes: int = 256 * 2**20
    """Word indexes kept in memory where passages are encrypted. A larger one is made anew in each search."""
    vector_cache_bytes: int = 256 * 2**20
    """Vectors kept in memory. A workspace that has more is read from the database in each search."""

    embedding: EmbeddingKind = "none"
    """`openai`: `POST {url}/embeddings`. `ollama`: `POST {url}/api/embed`. `local`: of the extra `local-embeddings`."""
    embedding_url: str = ""
    """The address before `/embeddings` or `/api/embed`. "": the kind's own."""
    embedding_model: str = ""
    """As the service names it. `openai` and `ollama` need one; `local` has its own."""
    embedding_api_key: str = ""
    embedding_dimensions: int | None = None
    """Asked of the service, and checked. None: what the model gives."""
    embedding_batch: int = 32
    """Texts in one request. From 1 to 2048."""
    embedding_concurrency: int = 4
    """Requests at once. From 1."""
    embedding_timeout_s: float = 60.0
    """One request."""
    embedding_retries: int = 3
    """Further tries of a request that was answered 429 or 5xx, or not at all."""
    embedding_backoff_s: float = 0.5
    """Before the first retry; doubled before each further one. A `Retry-After` is honoured up to 30 s."""
    embedding_query_prefix: str = ""
    """Put before a question, where the model was trained with one (`search_query: `)."""
    embedding_passage_prefix: str = ""
    """Put before a passage, where the model was trained with one (`search_document: `)."""

    embedding_local: bool | None = None
    """Whether texts stay here, so that confidential ones may be embedded. None: by the address, see `is_local`."""

    def __repr__(self) -> str:
        told = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "embedding_api_key")
        return f"DocumentSettings({', '.join(told)})"
