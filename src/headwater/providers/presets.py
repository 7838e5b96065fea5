"""The named providers: one table of how each is made, and which variables tell of it.

What the servers that speak OpenAI's chat completions differ by is data here, each with its source. Adding one of them
is a line in `PRESETS`; adding another API is its wire protocol and a maker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from ..errors import ConfigError
from .options import Made, Maker, ProviderOptions
from .wire.anthropic import ANTHROPIC_URL, Anthropic
from .wire.azure import API_VERSION, AzureOpenAI
from .wire.gemini import GEMINI_BASE_URL, Gemini
from .wire.ollama import Ollama
from .wire.openai_chat import OPENAI_BASE_URL, Continuation, OpenAIChat
from .wire.openai_differences import Differences
from .wire.responses import Responses

Needs: TypeAlias = Literal["key", "address", "either"]

_OLLAMA_PORT = 11434


def _airefinery_sdk(options: ProviderOptions) -> Made:
    # aiohttp comes with it: a quarter of a second of every start, for the few who use this one.
    from .airefinery import AIRefinery

    return AIRefinery(options)


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """One named provider.

    `base_url`: where it is unless told; "" where that must be told. `root`: the path of an address that names a host
    only. `needs`: what it takes to use it, and so what makes it found in the environment: a key; the address of a
    server of one's own; either, where the key is for `base_url` only. `key_variables` and `url_variables` in the order
    in which they are looked at; `header_variables` by header, `table_variables` by field of the table. `takes`: the
    fields of the table that it obeys besides those that all do. `announced`: whether variables alone make it found.
    `reads` makes a base URL of an address that is written otherwise, also of none. `probed`: whether a server that no
    variable names is looked for on this machine.
    """

    make: Maker
    needs: Needs = "key"
    base_url: str = ""
    root: str = ""
    key_variables: tuple[str, ...] = ()
    url_variables: tuple[str, ...] = ()
    header_variables: Mapping[str, str] = {}
    table_variables: Mapping[str, str] = {}
    aliases: tuple[str, ...] = ()
    takes: frozenset[str] = frozenset({"headers"})
    announced: bool = True
    reads: Callable[[str], str] | None = None
    probed: bool = False

    def address(self, text: str) -> str:
        """The base URL that `text` means, "" for the default one. Raises `ConfigError` where it does not parse."""
        if self.reads is not None:
            return self.reads(text)
        if not text:
            return self.base_url
        try:
            bare = urlsplit(text).path in ("", "/")
        except ValueError as exc:
            raise ConfigError("a provider's base URL does not parse") from exc
        return text.rstrip("/") + self.root if bare else text


def ollama_url(host: str) -> str:
    """OLLAMA_HOST in every form that Ollama itself takes: nothing, a host, `host:port`, `:port`, a URL.

    A server's bind address (`0.0.0.0`, `::`) means this machine. Raises `ConfigError`.
    """
    text = host if "://" in host else f"http://{host}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise ConfigError("OLLAMA_HOST does not parse") from exc
    name = parts.hostname or "127.0.0.1"
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)  # noqa: S104 -- recognised, not bound
    if ":" in name:
        name = f"[{name}]"
    if port is None:
        port = {"https": 443}.get(parts.scheme, 80 if "://" in host else _OLLAMA_PORT)
    return f"{parts.scheme}://{name}:{port}{parts.path.rstrip('/')}"


def _chat(
    label: str,
    *,
    stream_options: bool = True,
    continuation: Continuation = "",
    continuation_root: str = "",
    echoes_prefix: bool = False,
    differences: Differences = Differences(),  # noqa: B008 -- frozen
) -> Maker:
    """A maker of `OpenAIChat`. `continuation_root`: the path in place of `/v1` for continuations."""

    def make(options: ProviderOptions) -> Made:
        elsewhere = options.base_url.rstrip("/").removesuffix("/v1") + continuation_root if continuation_root else ""
        return OpenAIChat(
            options.base_url,
            api_key=options.api_key,
            headers=options.headers,
            stream=options.table.stream,
            stream_options=stream_options,
            continuation=continuation,
            continuation_url=elsewhere,
            echoes_prefix=echoes_prefix,
            differences=differences,
            label=label,
        )

    return make


def _openai(options: ProviderOptions) -> Made:
    """Both of OpenAI's APIs, Responses first, for OpenAI itself; other hosts seldom have more than the older one."""
    host = urlsplit(options.base_url).hostname or ""
    own = host == "api.openai.com" or host.endswith(".api.openai.com")  # us., eu.: data residency
    chat = OpenAIChat(
        options.base_url,
        api_key=options.api_key,
        headers=options.headers,
        stream=options.table.stream,
        # Its ChatCompletionAssistantMessageParam has no such field; compatible servers behind this preset may.
        differences=Differences(left_out_in_messages=_THOUGHTS) if own else Differences(),
        label="OpenAI",
    )
    if not options.table.stream or (options.table.api or ("responses" if own else "chat")) == "chat":
        return chat
    return (Responses(options.base_url, api_key=options.api_key, headers=options.headers), chat)


def _azure(options: ProviderOptions) -> Made:
    return AzureOpenAI(
        options.base_url,
        api_key=options.api_key,
        api_version=options.table.api_version or API_VERSION,
        headers=options.headers,
        stream=options.table.stream,
    )


def _anthropic(options: ProviderOptions) -> Made:
    return Anthropic(options.base_url, api_key=options.api_key, headers=options.headers)


def _gemini(options: ProviderOptions) -> Made:
    return Gemini(options.base_url, api_key=options.api_key, headers=options.headers)


def _ollama(options: ProviderOptions) -> Made:
    return Ollama(options.base_url, api_key=options.api_key)


_CHAT_TAKES = frozenset({"headers", "stream"})
# Bookkeeping that other vendors answer 422 for, or have no use for.
_OPENAI_ONLY = frozenset(
    {"metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "store", "user"}
)
# Callers send an answer back as they got it; who has no use for its thinking does not get it, as with every other API.
_THOUGHTS = frozenset({"reasoning_content"})
_OLD_LIMIT = {"max_completion_tokens": "max_tokens"}

# Schema ChatCompletionStreamRequest of https://docs.mistral.ai/api (SDK 3.7.0): what it lacks is 422 `extra_forbidden`
# (mistralai/platform-docs-public #7), also `stream_options` (llxprt-code #114) and a message's `name` or
# `reasoning_content` (crush #1590; hermes-agent #253). Usage comes unasked, in the last chunk. Roles: system, user,
# assistant, tool.
_MISTRAL = Differences(
    renamed={**_OLD_LIMIT, "seed": "random_seed"},
    roles={"developer": "system"},
    refused=frozenset(
        {"audio", "function_call", "functions", "logit_bias", "modalities", "verbosity", "web_search_options"}
    ),
    refused_in_messages=frozenset({"name", "refusal"}),
    left_out=_OPENAI_ONLY - {"metadata", "prompt_cache_key"},
    left_out_in_messages=_THOUGHTS,
)
# https://console.groq.com/docs/openai, "Currently unsupported OpenAI features": 400 where they are supplied at all,
# and so is a message's `reasoning_content` (janhq/jan #8136).
_GROQ = Differences(
    refused=frozenset({"logit_bias", "logprobs", "top_logprobs"}),
    refused_in_messages=frozenset({"name"}),
    left_out_in_messages=_THOUGHTS,
    one_choice=True,
)
# https://api-docs.deepseek.com/api/create-chat-completion: what it does not list is taken to have no effect there
# (unverified). `reasoning_content` stays in messages: since V3.2 an assistant's turn with tool calls must have it
# while thinking, else 400 (https://api-docs.deepseek.com/guides/thinking_mode, opencode #24722).
_DEEPSEEK = Differences(
    renamed=_OLD_LIMIT,
    roles={"developer": "system"},
    refused=frozenset({"logit_bias", "seed"}),
    left_out=_OPENAI_ONLY,
    formats=frozenset({"json_object", "text"}),
    one_choice=True,
)
# https://docs.together.ai/reference/chat-completions-1 (SDK 3.1.1): `max_tokens` only. What it leaves unanswered of
# OpenAI's bookkeeping is unverified, and so not sent.
_TOGETHER = Differences(renamed=_OLD_LIMIT, roles={"developer": "system"}, left_out=_OPENAI_ONLY)
# https://lmstudio.ai/docs/app/api/endpoints/openai, "Supported payload parameters"; lmstudio-bug-tracker #189. That it
# knows no max_completion_tokens, no json_object and gives one answer only is unverified for its newest releases.
_LM_STUDIO = Differences(renamed=_OLD_LIMIT, formats=frozenset({"json_schema", "text"}), one_choice=True)
# tools/server/README.md of ggml-org/llama.cpp: older builds know `max_tokens` only.
_LLAMA_CPP = Differences(renamed=_OLD_LIMIT)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "openai": Preset(
            make=_openai,
            needs="either",
            base_url=OPENAI_BASE_URL,
            key_variables=("OPENAI_API_KEY", "OPEN_AI_KEY"),
            url_variables=("OPENAI_BASE_URL",),
            header_variables={"openai-organization": "OPENAI_ORG_ID", "openai-project": "OPENAI_PROJECT_ID"},
            takes=_CHAT_TAKES | {"api"},
        ),
        "azure": Preset(
            make=_azure,
            key_variables=("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_KEY"),
            url_variables=("AZURE_OPENAI_ENDPOINT",),
            table_variables={"api_version": "OPENAI_API_VERSION"},
            aliases=("azure-openai",),
            takes=_CHAT_TAKES | {"api_version"},
        ),
        "anthropic": Preset(
            make=_anthropic,
            base_url=ANTHROPIC_URL,
            key_variables=("ANTHROPIC_API_KEY",),
            url_variables=("ANTHROPIC_BASE_URL",),
            aliases=("claude",),
        ),
        "gemini": Preset(
            make=_gemini,
            base_url=GEMINI_BASE_URL,
            root="/v1beta",
            key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            url_variables=("GOOGLE_GEMINI_BASE_URL",),
            aliases=("google",),
        ),
        "ollama": Preset(
            make=_ollama,
            needs="address",
            key_variables=("OLLAMA_API_KEY", "OLLAMA_AUTH_TOKEN"),
            url_variables=("OLLAMA_HOST", "OLLAMA_BASE_PATH"),
            takes=frozenset(),
            reads=ollama_url,
            probed=True,
        ),
        # AIR_BASE_URL is the SDK's own variable (air/__init__.py); it names no path, the SDK adds /v1.
        "airefinery": Preset(
            make=_chat("AI Refinery"),
            base_url="https://api.airefinery.accenture.com/v1",
            root="/v1",
            key_variables=("AIREFINERY_API_KEY", "AIR_API_KEY"),
            url_variables=("AIR_BASE_URL",),
            aliases=("ai-refinery", "air"),
            takes=_CHAT_TAKES,
        ),
        "airefinery-sdk": Preset(
            make=_airefinery_sdk,
            base_url="https://api.airefinery.accenture.com",
            key_variables=("AIREFINERY_API_KEY", "AIR_API_KEY"),
            url_variables=("AIR_BASE_URL",),
            takes=_CHAT_TAKES,
            announced=False,
        ),
        "vllm": Preset(
            # No default address: vLLM's own, port 8000 of this machine, is Headwater's too, which would ask itself.
            make=_chat("vLLM", continuation="continue_final_message"),
            needs="address",
            root="/v1",
            key_variables=("VLLM_API_KEY",),
            url_variables=("VLLM_BASE_URL",),
            takes=_CHAT_TAKES,
        ),
        "llama-cpp": Preset(
            make=_chat("llama.cpp", continuation="trailing", differences=_LLAMA_CPP),
            needs="address",
            base_url="http://127.0.0.1:8080/v1",
            root="/v1",
            key_variables=("LLAMA_CPP_API_KEY", "LLAMA_API_KEY"),
            url_variables=("LLAMA_CPP_BASE_URL",),
            aliases=("llamacpp", "llama.cpp"),
            takes=_CHAT_TAKES,
        ),
        "lm-studio": Preset(
            make=_chat("LM Studio", continuation="trailing", differences=_LM_STUDIO),
            needs="address",
            base_url="http://127.0.0.1:1234/v1",
            root="/v1",
            key_variables=("LMSTUDIO_API_KEY",),
            url_variables=("LMSTUDIO_BASE_URL", "LMSTUDIO_BASE_PATH"),
            aliases=("lmstudio",),
            takes=_CHAT_TAKES,
        ),
        "mistral": Preset(
            # Its answer holds the prefix: https://docs.mistral.ai/guides/prefix cuts it off. That a stream does so
            # too is unverified; where it does not, nothing is cut away.
            make=_chat(
                "Mistral", stream_options=False, continuation="prefix", echoes_prefix=True, differences=_MISTRAL
            ),
            base_url="https://api.mistral.ai/v1",
            root="/v1",
            key_variables=("MISTRAL_API_KEY",),
            url_variables=("MISTRAL_BASE_URL",),
            aliases=("mistralai",),
            takes=_CHAT_TAKES,
        ),
        "groq": Preset(
            # Continuation: https://console.groq.com/docs/prefilling
            make=_chat("Groq", continuation="trailing", differences=_GROQ),
            base_url="https://api.groq.com/openai/v1",
            root="/openai/v1",
            key_variables=("GROQ_API_KEY",),
            url_variables=("GROQ_BASE_URL",),
            takes=_CHAT_TAKES,
        ),
        "deepseek": Preset(
            make=_chat("DeepSeek", continuation="prefix", continuation_root="/beta", differences=_DEEPSEEK),
            base_url="https://api.deepseek.com",
            key_variables=("DEEPSEEK_API_KEY",),
            url_variables=("DEEPSEEK_BASE_URL",),
            takes=_CHAT_TAKES,
        ),
        "openrouter": Preset(
            # Continuation: https://openrouter.ai/docs/api-reference/overview, "Assistant prefill"
            make=_chat("OpenRouter", continuation="trailing"),
            base_url="https://openrouter.ai/api/v1",
            root="/api/v1",
            key_variables=("OPENROUTER_API_KEY",),
            url_variables=("OPENROUTER_BASE_URL",),
            takes=_CHAT_TAKES,
        ),
        "together": Preset(
            make=_chat("Together", differences=_TOGETHER),
            base_url="https://api.together.ai/v1",
            root="/v1",
            key_variables=("TOGETHER_API_KEY", "TOGETHER_AI_API_KEY"),
            url_variables=("TOGETHER_BASE_URL",),
            aliases=("togetherai", "together-ai"),
            takes=_CHAT_TAKES,
        ),
        "localai": Preset(
            make=_chat("LocalAI"),
            needs="address",
            base_url="http://127.0.0.1:8080/v1",
            root="/v1",
            key_variables=("LOCAL_AI_API_KEY",),
            url_variables=("LOCAL_AI_BASE_PATH",),
            aliases=("local-ai",),
            takes=_CHAT_TAKES,
        ),
        "openai-compatible": Preset(
            make=_chat("this server"),
            needs="address",
            root="/v1",
            key_variables=("GENERIC_OPEN_AI_API_KEY",),
            url_variables=("GENERIC_OPEN_AI_BASE_PATH",),
            aliases=("generic-openai",),
            takes=_CHAT_TAKES,
        ),
    }
)


def preset_name(name: str) -> str | None:
    """The name in `PRESETS` that `name` or one of its other spellings means."""
    name = name.lower()
    if name in PRESETS:
        return name
    return next((known for known, preset in PRESETS.items() if name in preset.aliases), None)
