"""The settings of the chat backend: conversations, documents, their vectors, and who may use it all.

The same names and defaults as the structs `chat.settings`, `documents.settings`, `documents.ingest` and
`identity.settings`, which know nothing of sources and bounds; a test compares them.
"""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from pydantic import SecretStr, model_validator

from .fields import MIB, Address, Group, secret, setting

CONVERSATIONS, DOCUMENTS, EMBEDDINGS, IDENTITY = "Conversations", "Documents", "Embeddings", "Identity"

Titles: TypeAlias = Literal["model", "words", "off"]
EmbeddingKind: TypeAlias = Literal["none", "openai", "ollama", "local"]
TenantLevel: TypeAlias = Literal["user", "project", "organization"]
Period: TypeAlias = Literal["day", "month", "total"]

# An amount of tokens or requests that no bound of anybody's reaches.
_LARGE = 1_000_000_000_000


class Conversations(Group):
    """How questions are answered, and what is kept of it."""

    system_prompt: str = setting(
        CONVERSATIONS,
        "You are a helpful assistant.",
        "What the model is told first, where the workspace has no words of its own.",
        max_length=200_000,
    )
    query_refusal: str = setting(
        CONVERSATIONS,
        "There is no relevant information in this workspace to answer your query.",
        "Answer of the mode `query` when the documents hold nothing about the question.",
        min_length=1,
        max_length=20_000,
    )
    history_turns: int = setting(
        CONVERSATIONS, 20, "Earlier questions, with their answers, that go into a prompt.", ge=0, le=10_000
    )
    history_tokens: int = setting(
        CONVERSATIONS, 8000, "Tokens of a prompt that earlier messages may fill.", ge=0, le=100_000_000
    )
    passages: int = setting(CONVERSATIONS, 6, "Passages of documents in a prompt; 0 looks nothing up.", ge=0, le=100)
    passages_tokens: int = setting(
        CONVERSATIONS, 4000, "Tokens of a prompt that found passages may fill.", ge=0, le=100_000_000
    )
    pinned_tokens: int = setting(
        CONVERSATIONS, 8000, "Tokens of a prompt that pinned documents may fill.", ge=0, le=100_000_000
    )
    min_score: float = setting(CONVERSATIONS, 0.1, "Passages with a lower score are not used.", ge=0, le=1)
    titles: Titles = setting(
        CONVERSATIONS,
        "model",
        "What names a thread after its first answer: the model, the question's own words, or nothing.",
    )
    signals: bool = setting(
        CONVERSATIONS, True, "Tell with each answer how sure it is and how much of it the passages do not support."
    )
    judge_model: str = setting(
        CONVERSATIONS, "", "Model that judges answers by their passages. Empty: by their words alone.", max_length=500
    )
    judge_timeout_s: float = setting(CONVERSATIONS, 10.0, "How long an answer's end waits for the judge.", gt=0, le=600)
    max_message_characters: int = setting(CONVERSATIONS, 200_000, "Longest question.", ge=1, le=100_000_000)
    max_attachments: int = setting(CONVERSATIONS, 10, "Attachments of one question.", ge=0, le=1000)
    max_attachment_bytes: int = setting(CONVERSATIONS, 4 * MIB, "Largest attachment.", ge=1, le=1024 * MIB)
    max_threads: int = setting(CONVERSATIONS, 100_000, "Threads of one tenant.", ge=1, le=100_000_000)
    max_workspaces: int = setting(CONVERSATIONS, 1000, "Workspaces of one tenant.", ge=1, le=1_000_000)
    conversation_max_age_s: float = setting(
        CONVERSATIONS, 0.0, "Threads without activity for this long are deleted; 0 keeps them.", ge=0
    )
    ai_enabled: bool = setting(
        CONVERSATIONS, True, "Whether the ai-chat routes answer. The variable may also be plain `AI_ENABLED`."
    )
    ai_model: str = setting(
        CONVERSATIONS,
        "",
        "Model of the ai-chat routes. Empty: the server's default. The variable may also be plain `AI_MODEL`.",
        max_length=500,
    )
    ai_api_url: Address = setting(
        CONVERSATIONS,
        "",
        "OpenAI-compatible provider of the ai-chat routes alone. Empty: the server's own providers. The variable may"
        " also be plain `AI_API_URL`.",
    )
    ai_api_key: SecretStr = secret(
        CONVERSATIONS, "Key of the ai-chat routes' own provider. The variable may also be plain `AI_API_KEY`."
    )


class Documents(Group):
    """How documents are read, kept and searched."""

    max_document_bytes: int = setting(DOCUMENTS, 50 * MIB, "Largest document.", ge=1024, le=4096 * MIB)
    max_document_pages: int = setting(DOCUMENTS, 2000, "Pages of one document.", ge=1, le=1_000_000)
    max_documents: int = setting(
        DOCUMENTS, 1000, "Documents in one workspace, those of its threads included.", ge=1, le=1_000_000
    )
    max_versions: int = setting(
        DOCUMENTS,
        10,
        "Versions of one document that are kept, the one in force always among them.",
        ge=1,
        le=10_000,
    )
    max_metadata_bytes: int = setting(DOCUMENTS, 16_384, "A document's metadata, as JSON.", ge=2, le=16 * MIB)
    document_workers: int = setting(DOCUMENTS, 1, "Documents read at once, each in a process of its own.", ge=1, le=256)
    document_timeout_s: float = setting(DOCUMENTS, 300.0, "Reading the text of one document.", gt=0, le=86_400)
    document_memory_bytes: int = setting(
        DOCUMENTS, 2048 * MIB, "Memory that reading one document may take.", ge=256 * MIB, le=1_048_576 * MIB
    )
    passage_characters: int = setting(
        DOCUMENTS, 1200, "Length of the passages that a document is split into.", ge=16, le=100_000
    )
    passage_overlap_characters: int = setting(
        DOCUMENTS, 150, "How much of a passage its successor repeats, up to half of it.", ge=0, le=50_000
    )
    search_candidates: int = setting(
        DOCUMENTS,
        60,
        "Passages that each way of searching puts forward, before they are merged.",
        ge=10,
        le=1000,
    )
    similarity_floor: float = setting(
        DOCUMENTS,
        0.25,
        "Cosine at which two texts have nothing to do with each other, and score 0. Depends on the embedding model.",
        ge=0,
        le=0.9,
    )
    query_timeout_s: float = setting(
        DOCUMENTS,
        5.0,
        "How long a search waits for the question's vector, before it goes on with words alone.",
        gt=0,
        le=600,
    )
    lexical_cache_bytes: int = setting(
        DOCUMENTS,
        256 * MIB,
        "Word indexes held in memory where passages are encrypted; a workspace whose index is larger alone is indexed"
        " anew in each search.",
        ge=0,
        le=1_048_576 * MIB,
    )
    vector_cache_bytes: int = setting(
        DOCUMENTS,
        256 * MIB,
        "Vectors held in memory; a workspace that has more is read from the database in each search.",
        ge=0,
        le=1_048_576 * MIB,
    )

    @model_validator(mode="after")
    def _overlap_is_half_a_passage_at_most(self) -> Self:
        if self.passage_overlap_characters > self.passage_characters // 2:
            raise ValueError("passage_overlap_characters must be at most half of passage_characters")
        return self


class Embeddings(Group):
    """Where the vectors of passages and questions come from."""

    embedding: EmbeddingKind = setting(
        EMBEDDINGS,
        "none",
        "What computes vectors: `openai` (any server with `/embeddings`), `ollama`, or `local`, the model of the extra"
        " `local-embeddings`. `none`: documents are searched by words.",
    )
    embedding_url: Address = setting(
        EMBEDDINGS, "", "Address before `/embeddings` or `/api/embed`. Empty: OpenAI's, or Ollama's on this machine."
    )
    embedding_model: str = setting(
        EMBEDDINGS, "", "Model by the service's own name; `openai` and `ollama` need one.", max_length=500
    )
    embedding_api_key: SecretStr = secret(EMBEDDINGS, "Key of the service.")
    embedding_dimensions: int | None = setting(
        EMBEDDINGS,
        None,
        "Length of the vectors that the service is asked for. Unset: what the model gives.",
        shown="per model",
        ge=1,
        le=65_536,
    )
    embedding_batch: int = setting(EMBEDDINGS, 32, "Texts in one request.", ge=1, le=2048)
    embedding_concurrency: int = setting(EMBEDDINGS, 4, "Requests at once.", ge=1, le=256)
    embedding_timeout_s: float = setting(EMBEDDINGS, 60.0, "One request.", gt=0, le=3600)
    embedding_retries: int = setting(
        EMBEDDINGS, 3, "Further tries of a request that was answered 429 or 5xx, or not at all.", ge=0, le=20
    )
    embedding_backoff_s: float = setting(
        EMBEDDINGS, 0.5, "Pause before the first further try; doubles with each, up to 30.", ge=0, le=30
    )
    embedding_rest_s: float = setting(
        EMBEDDINGS, 10.0, "How long searches go by words alone after a question's vector failed.", ge=0, le=3600
    )
    embedding_query_prefix: str = setting(
        EMBEDDINGS, "", "Put before a question, where the model was trained with one.", max_length=1000
    )
    embedding_passage_prefix: str = setting(
        EMBEDDINGS, "", "Put before a passage, where the model was trained with one.", max_length=1000
    )
    embedding_local: bool | None = setting(
        EMBEDDINGS,
        None,
        "Whether the service keeps texts on this machine or its private network: only then are confidential documents"
        " embedded.",
        shown="for a loopback or private address",
    )


class Identity(Group):
    """Whose tokens and tickets are taken, and how much everybody may use."""

    jwt_secret: SecretStr = secret(
        IDENTITY,
        "Secret of JWT bearer tokens (HS256), at least 32 bytes. Only one of `jwt_secret`, `jwt_public_key` and"
        " `jwt_jwks_url` can be set.",
    )
    jwt_public_key: str = setting(
        IDENTITY,
        "",
        "Public key of JWT bearer tokens, as PEM: RSA, P-256 or Ed25519. A line break may be written as `\\n`.",
    )
    jwt_jwks_url: str = setting(
        IDENTITY, "", "Address of the key set of JWT bearer tokens: https, or http of this machine."
    )
    jwt_issuer: str = setting(IDENTITY, "", "Issuer (`iss`) that tokens must name. Empty: any.")
    jwt_audience: str = setting(IDENTITY, "", "Audience (`aud`) that tokens must name. Empty: it is not checked.")
    jwt_leeway_s: float = setting(
        IDENTITY, 10.0, "How far the clock of who issues tokens may differ from ours.", ge=0, le=300
    )
    jwt_tenant: TenantLevel = setting(
        IDENTITY,
        "user",
        "Who shares streams, conversations and documents: a user's tokens, a project's, or all of an organization's.",
    )
    key_cache_s: float = setting(
        IDENTITY,
        5.0,
        "How long a key or token that was found valid is taken without a further look; a revoked key goes on for so"
        " long.",
        ge=0,
        le=60,
    )
    ticket_secret: SecretStr = secret(
        IDENTITY,
        "Secret of the tickets that EventSource sends in its address, at least 32 bytes. Empty: a random one, kept in"
        " the data directory.",
    )
    ticket_ttl_s: float = setting(IDENTITY, 60.0, "How long a ticket can be used for the first time.", ge=1, le=3600)
    ticket_resume_s: float = setting(
        IDENTITY,
        3600.0,
        "How long a ticket resumes what it began; not below `ticket_ttl_s`.",
        ge=1,
        le=86_400,
    )
    user_requests_per_minute: int = setting(
        IDENTITY, 0, "Requests of one tenant in a minute, by all its keys and tokens; 0 sets no bound.", ge=0, le=_LARGE
    )
    user_tokens_per_minute: int = setting(
        IDENTITY, 0, "Tokens of one tenant in a minute; 0 sets no bound.", ge=0, le=_LARGE
    )
    user_budget_tokens: int = setting(
        IDENTITY, 0, "Tokens of one tenant in a budget period; 0 sets no bound.", ge=0, le=_LARGE
    )
    user_budget_cost: float = setting(
        IDENTITY,
        0.0,
        "Cost of one tenant in a budget period, in the currency of `prices`; 0 sets no bound.",
        ge=0,
        le=_LARGE,
    )
    user_budget_period: Period = setting(
        IDENTITY, "month", "What a budget is for: a day or a month of UTC, or all time."
    )
    budget_cache_s: float = setting(
        IDENTITY,
        10.0,
        "How long what other servers of the same database have used may go unseen by a budget.",
        ge=0,
        le=300,
    )
