"""The settings of a server that streams."""

from __future__ import annotations

from pydantic import SecretStr

from .fields import (
    MIB,
    Address,
    Codings,
    Directory,
    DurabilityName,
    FilePath,
    Group,
    LogFormat,
    LogLevel,
    LogName,
    Names,
    OpenAIApi,
    Origins,
    Prices,
    PrometheusAccess,
    Providers,
    Routes,
    Secrets,
    default_data_dir,
    secret,
    setting,
)

SERVER, ACCESS, STORAGE = "Server", "Access", "Storage"
MODELS, TIMES, AMOUNTS, COMPRESSION, MONITOR = "Models", "Times", "Amounts", "Compression", "Monitor"


class Server(Group):
    """Where the server is."""

    config: FilePath | None = setting(SERVER, None, "TOML file with settings by these names.")
    host: str = setting(SERVER, "127.0.0.1", "Address to listen on.", min_length=1)
    port: int = setting(SERVER, 8000, "TCP port; 0 takes a free one.", ge=0, le=65535)
    log_level: LogLevel = setting(SERVER, "info", "Least severe message to report.")
    log_format: LogFormat = setting(SERVER, "console", "How messages are written: for people, or one JSON a line.")
    access_log: bool = setting(SERVER, False, "Report every request, and every stream that has ended.")
    log_content: bool = setting(
        SERVER, False, "Report the questions and answers of ended streams, too; needs `access_log`."
    )
    log_lines_per_minute: int = setting(
        SERVER,
        1200,
        "Messages of one kind in a minute; how many more there were is told after it. 0 sets no bound.",
        ge=0,
        le=1_000_000,
    )
    log_queue_lines: int = setting(
        SERVER, 10_000, "Messages that wait to be written; more are dropped, and counted.", ge=100, le=1_000_000
    )
    page: bool = setting(
        SERVER, True, "Serve the chat page at `/` and the dashboard at `/dashboard`; else `/` leads to `/api-docs`."
    )


class Access(Group):
    """Who may call it."""

    api_keys: Secrets = setting(
        ACCESS,
        (),
        "Keys that callers must send as a bearer token; any one is enough. Prefer the environment or the file:"
        " a flag is visible in the process list.",
    )
    admin_keys: Secrets = setting(
        ACCESS,
        (),
        "Keys that may also change model routes and manage keys; they are API keys as well. Other keys can only read"
        " the routes.",
    )
    allow_anonymous: bool = setting(ACCESS, False, "Serve a host that others can reach without any API key.")
    allowed_hosts: Names = setting(
        ACCESS, (), "Further host names that a server without keys answers to, as behind a proxy of this machine."
    )
    cors_origins: Origins = setting(
        ACCESS, (), "Origins whose pages may call the API; * for any, never with credentials."
    )


class Storage(Group):
    """What is kept, where and how long."""

    data_dir: FilePath = setting(
        STORAGE,
        default_data_dir,
        "Directory of the stream log and of the chat backend's own database. One server at a time owns it.",
        shown="$XDG_DATA_HOME/headwater, else ~/.local/share/headwater",
    )
    log: LogName = setting(
        STORAGE, "sqlite", "Where streams are kept. `postgres` and `redis` are reserved for a later release."
    )
    durability: DurabilityName = setting(
        STORAGE,
        "commit",
        "What a visible event survives: `commit` a killed process, `fsync` also a power cut, `memory` nothing"
        " (implies log = memory).",
    )
    database_url: SecretStr | None = setting(
        STORAGE,
        None,
        "Database of conversations, documents and keys: `postgresql://user:password@host/name`.",
        shown="chat.sqlite3 in data_dir",
    )
    redis_url: SecretStr | None = setting(STORAGE, None, "Redis address, reserved for a later release.")
    encryption_keys_file: FilePath | None = setting(
        STORAGE,
        None,
        "Key ring, outside of data_dir: what is kept is encrypted with its newest key. `headwater encryption rotate`"
        " makes it.",
        shown="none: nothing is encrypted",
    )
    encryption_keys: SecretStr = secret(
        STORAGE, "Keys instead of a file: 32 bytes each in base64, separated by commas, the one that encrypts first."
    )
    encryption_rotate_s: float = setting(
        STORAGE,
        0.0,
        "Age of the newest key at which the server adds another one to encryption_keys_file; 0 never.",
        ge=0,
        le=315_360_000,
    )
    retention_max_age_s: float = setting(
        STORAGE, 604_800.0, "Finished streams older than this are deleted; 0 keeps them.", ge=0
    )
    retention_max_bytes: int = setting(
        STORAGE,
        4096 * MIB,
        "The oldest finished streams are deleted above this size of the log; 0 sets no bound.",
        ge=0,
    )


class Models(Group):
    """Where answers come from."""

    default_model: str = setting(
        MODELS, "", "Model of a request that names none. Empty: the first model of the first provider found."
    )
    llm_provider: str = setting(
        MODELS,
        "",
        "Provider that comes first: a table's name, or a kind as AnythingLLM writes it (`openai`, `lmstudio` …). The"
        " variable may also be plain `LLM_PROVIDER`.",
    )
    openai_api: OpenAIApi | None = setting(
        MODELS,
        None,
        "Which of OpenAI's two APIs its provider is asked through.",
        shown="responses for OpenAI's own host, else chat",
    )
    providers: Providers = setting(MODELS, dict, "Upstreams by name, see below.", shown="none")
    routes: Routes = setting(MODELS, dict, "Public model names and where their answers come from.", shown="none")
    prices: Prices = setting(MODELS, dict, "Prices by `provider/model` or model.", shown="none")
    breaker_failures: int = setting(
        MODELS,
        5,
        "Failures in a row after which a model's other targets are preferred for a while; 0 never.",
        ge=0,
        le=1000,
    )
    breaker_open_s: float = setting(
        MODELS,
        10.0,
        "How long they are preferred until one request probes it again; doubles with each failed probe, up to 300.",
        gt=0,
        le=300,
    )
    recordings_dir: Directory | None = setting(
        MODELS, None, "Directory of transcripts; each is served as a model of the `replay` provider."
    )
    replay_pace: float = setting(
        MODELS,
        1.0,
        "Speed of the `replay` provider: 1 as recorded, 2 twice as fast, 0 without pauses.",
        ge=0,
        le=1000,
    )


class Times(Group):
    """How long things may take."""

    linger_s: float | None = setting(
        TIMES,
        None,
        "How long a stream lives on without viewers. Unset: 10 for dialects whose SDKs cannot resume"
        " (`openai_chat`), 300 for the others.",
        shown="per dialect",
        ge=0,
        le=86_400,
    )
    heartbeat_s: float = setting(TIMES, 15.0, "Silence after which a viewer gets a comment line.", ge=0.1, le=3600)
    head_wait_s: float = setting(
        TIMES,
        5.0,
        "How long API dialects hold the status line, so that an upstream's 401, 429 or 503 keeps its status.",
        ge=0,
        le=120,
    )
    connect_timeout_s: float = setting(TIMES, 10.0, "Opening a connection to a provider.", gt=0, le=600)
    first_token_timeout_s: float = setting(TIMES, 120.0, "From the request to the first token.", gt=0, le=86_400)
    idle_timeout_s: float = setting(
        TIMES, 60.0, "Silence of the provider between chunks; its comments count as life.", gt=0, le=86_400
    )
    total_timeout_s: float = setting(TIMES, 3600.0, "A whole stream, from acceptance to its end.", gt=0, le=604_800)
    queue_timeout_s: float = setting(TIMES, 30.0, "Waiting for a free slot to generate in.", gt=0, le=86_400)
    priority_ageing_s: float = setting(
        TIMES,
        10.0,
        "How much longer a request of the next lower priority waits for a slot: how far `high` may overtake `normal`,"
        " and `normal` `low`. 0 serves all in the order of their coming.",
        ge=0,
        le=3600,
    )
    connection_timeout_s: float = setting(
        TIMES,
        300.0,
        "A connection that was created and not started is forgotten after this; a viewer whose stream has told it"
        " nothing for so long, heartbeats aside, is told to come back. Never sooner than `first_token_timeout_s`,"
        " `idle_timeout_s` and `queue_timeout_s` allow; 0 never.",
        ge=0,
        le=86_400,
    )
    max_flush_interval_ms: float = setting(
        TIMES,
        100.0,
        "Longest `flushInterval` that a request below `/streaming` may ask for.",
        ge=25,
        le=10_000,
    )
    send_timeout_s: float = setting(
        TIMES, 30.0, "A viewer that takes no bytes for this long is cut off.", gt=0, le=3600
    )
    log_retry_s: float = setting(
        TIMES, 5.0, "How long a failing log is tried again before its streams are ended.", ge=0, le=600
    )
    log_timeout_s: float = setting(
        TIMES, 30.0, "How long a commit may take before its streams are ended.", gt=0, le=3600
    )
    grace_s: float = setting(TIMES, 20.0, "Time that streams get to finish at shutdown.", ge=0, le=3600)
    retry_ms: int = setting(TIMES, 2000, "What browsers are told to wait before they reconnect.", ge=0, le=600_000)
    flush_ms: float = setting(TIMES, 5.0, "Longest output delay, taken only under load.", ge=0, le=25)


class Amounts(Group):
    """How much there may be at once."""

    max_connections: int = setting(
        AMOUNTS, 10_000, "Viewers held at once; also connections created and not ended.", ge=1, le=1_000_000
    )
    max_connections_per_key: int = setting(
        AMOUNTS, 0, "Viewers of one key, or of one user of a token, at once; 0 sets no bound.", ge=0, le=1_000_000
    )
    max_connections_per_address: int = setting(
        AMOUNTS, 0, "Viewers from one address at once; 0 sets no bound.", ge=0, le=1_000_000
    )
    max_buffer_bytes: int = setting(
        AMOUNTS, 8192, "Largest `bufferSize` that a request below `/streaming` may ask for.", ge=256, le=MIB
    )
    max_streams: int = setting(AMOUNTS, 2000, "Streams generating at once.", ge=1, le=100_000)
    max_queued: int = setting(AMOUNTS, 1000, "Streams waiting to generate; more are refused.", ge=0, le=1_000_000)
    max_body_bytes: int = setting(AMOUNTS, 8 * MIB, "Largest request body.", ge=1024, le=1024 * MIB)
    max_header_bytes: int = setting(AMOUNTS, 65_536, "Largest request head.", ge=1024, le=MIB)
    max_stream_bytes: int = setting(
        AMOUNTS, 64 * MIB, "Largest stream; a longer one ends in an error.", ge=65_536, le=1024 * MIB
    )
    tail_bytes: int = setting(
        AMOUNTS,
        32_768,
        "Newest part of a stream held in memory; slower viewers read the log.",
        ge=1024,
        le=16 * MIB,
    )


class Compressing(Group):
    """How event streams are compressed for clients that ask for it (`Accept-Encoding`)."""

    compression: Codings = setting(
        COMPRESSION,
        ("gzip", "zstd", "br", "deflate"),
        "Codings offered, the preferred first; `off` compresses nothing.",
    )
    compression_gzip_level: int = setting(COMPRESSION, 1, "Effort of gzip and deflate.", ge=1, le=9)
    compression_zstd_level: int = setting(COMPRESSION, 1, "Effort of zstd.", ge=1, le=4)
    compression_br_level: int = setting(
        COMPRESSION, 3, "Effort of br; a viewer holds 310 KiB with 2 and 3, up to 580 with 4 and 5.", ge=2, le=5
    )
    compression_stored_level: int = setting(
        COMPRESSION, 3, "Effort (zlib) of what the log folds into its archive; 0 stores it as it is.", ge=0, le=9
    )
    compression_min_bytes: int = setting(
        COMPRESSION, 1024, "An ended answer with less text is sent as it is.", ge=0, le=16 * MIB
    )
    compression_except: Names = setting(
        COMPRESSION, (), "Dialects never compressed: for clients that decompress only what is whole."
    )
    compression_max_memory_bytes: int = setting(
        COMPRESSION,
        256 * MIB,
        "Held by the compressors of all viewers (gzip: 16 KiB each); who comes when it is full gets plain frames.",
        ge=0,
        le=65_536 * MIB,
    )


class Monitor(Group):
    """What is counted, and what is an alert."""

    metrics: bool = setting(
        MONITOR,
        True,
        "Count what happens, for `/v1/metrics`, `/v1/alerts`, the figures of connections and the dashboard.",
    )
    metrics_keep_s: float = setting(
        MONITOR,
        2_592_000.0,
        "How long the figures of each minute, and of each ended stream, are kept.",
        ge=86_400,
        le=31_536_000,
    )
    metrics_keep_streams: int = setting(
        MONITOR, 50_000, "Ended streams whose figures are kept; the oldest go first.", ge=0, le=10_000_000
    )
    metrics_max_labels: int = setting(
        MONITOR,
        50,
        "How many models, providers or reasons a label of `/metrics` tells apart; the rest is `other`.",
        ge=1,
        le=1000,
    )
    prometheus_access: PrometheusAccess = setting(
        MONITOR,
        "admin",
        "Who may read `/metrics`: who administers the server (also who is alone on it), whoever has a key that may"
        " read, everybody, or nobody.",
    )
    alert_window_s: int = setting(MONITOR, 300, "The time over which alerts are evaluated.", ge=30, le=300)
    alert_every_s: float = setting(
        MONITOR, 15.0, "How often alerts are evaluated; one begins and ends at the second time.", ge=1, le=300
    )
    alert_error_rate: float = setting(
        MONITOR, 0.05, "Alert where more than this share of the streams fail; 0 never.", ge=0, le=1
    )
    alert_first_token_ms: float = setting(
        MONITOR, 5000.0, "Alert where p95 of the time to the first token is above this; 0 never.", ge=0
    )
    alert_chunk_gap_ms: float = setting(
        MONITOR, 1000.0, "Alert where p95 of the time between two chunks is above this; 0 never.", ge=0
    )
    alert_provider_error_rate: float = setting(
        MONITOR,
        0.5,
        "Alert where more than this share of a provider's calls fail, or its circuit is open; 0 never.",
        ge=0,
        le=1,
    )
    alert_drops_per_hour: int = setting(
        MONITOR, 100, "Alert where more connections than this were lost within an hour; 0 never.", ge=0
    )
    alert_log_lag_ms: float = setting(
        MONITOR, 2000.0, "Alert where a commit to the log takes longer than this; 0 never.", ge=0
    )
    alert_disk_used: float = setting(
        MONITOR, 0.9, "Alert where more than this share of the data directory's disk is used; 0 never.", ge=0, le=1
    )
    alert_webhook_url: SecretStr = secret(
        MONITOR,
        "Address that is told of alerts, by Standard Webhooks. Prefer the environment or the file: who knows such an"
        " address can often write to it.",
    )
    alert_webhook_secret: SecretStr = secret(
        MONITOR, "What webhooks are signed with: `whsec_` and 24 to 64 bytes in base64. Needed with an address."
    )
    alert_webhook_private: bool = setting(
        MONITOR, False, "Whether webhooks may go to this machine and to private networks."
    )
    alert_webhook_timeout_s: float = setting(MONITOR, 10.0, "One attempt to deliver a webhook.", gt=0, le=120)
    alert_webhook_attempts: int = setting(
        MONITOR,
        6,
        "Attempts to deliver a webhook; the first pause is 2 s, each further one four times as long, up to 15 minutes.",
        ge=1,
        le=10,
    )
    otlp_endpoint: Address = setting(
        MONITOR,
        "",
        "Address of an OpenTelemetry collector, before `/v1/traces` and `/v1/metrics` (OTLP over HTTP, usually port"
        " 4318). Empty: none. Needs the extra `otel`.",
    )
    trace_sample: float = setting(
        MONITOR,
        1.0,
        "Share of the streams that are traced; where a caller's `traceparent` says whether, that counts.",
        ge=0,
        le=1,
    )
    otlp_interval_s: float = setting(MONITOR, 60.0, "How often metrics go to the collector.", ge=1, le=3600)
    otlp_timeout_s: float = setting(MONITOR, 5.0, "How long one export may take.", gt=0, le=60)
