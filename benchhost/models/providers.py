"""The usual providers: where they are, which variable holds the key, what they speak."""

from __future__ import annotations

from typing import Literal

import msgspec


class Provider(msgspec.Struct, frozen=True):
    """One provider. ``keys`` are the environment variables that may hold its key; the first that is set wins.

    A provider without any needs no key: it runs on the user's own machine.
    """

    name: str
    base_url: str
    keys: tuple[str, ...] = ()
    dialect: Literal["openai", "anthropic"] = "openai"


PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider("alibaba", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", ("DASHSCOPE_API_KEY",)),
        Provider("anthropic", "https://api.anthropic.com", ("ANTHROPIC_API_KEY",), "anthropic"),
        Provider("cerebras", "https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",)),
        Provider("deepinfra", "https://api.deepinfra.com/v1/openai", ("DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN")),
        Provider("deepseek", "https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",)),
        Provider("fireworks", "https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY",)),
        Provider(
            "google", "https://generativelanguage.googleapis.com/v1beta/openai", ("GEMINI_API_KEY", "GOOGLE_API_KEY")
        ),
        Provider("groq", "https://api.groq.com/openai/v1", ("GROQ_API_KEY",)),
        Provider("huggingface", "https://router.huggingface.co/v1", ("HF_TOKEN",)),
        Provider("mistral", "https://api.mistral.ai/v1", ("MISTRAL_API_KEY",)),
        Provider("moonshot", "https://api.moonshot.ai/v1", ("MOONSHOT_API_KEY", "KIMI_API_KEY")),
        Provider("nvidia", "https://integrate.api.nvidia.com/v1", ("NVIDIA_API_KEY",)),
        Provider("openai", "https://api.openai.com/v1", ("OPENAI_API_KEY",)),
        Provider("openrouter", "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
        Provider("perplexity", "https://api.perplexity.ai", ("PERPLEXITY_API_KEY",)),
        Provider("sambanova", "https://api.sambanova.ai/v1", ("SAMBANOVA_API_KEY",)),
        Provider("together", "https://api.together.xyz/v1", ("TOGETHER_API_KEY",)),
        Provider("xai", "https://api.x.ai/v1", ("XAI_API_KEY",)),
        Provider("zai", "https://api.z.ai/api/paas/v4", ("ZAI_API_KEY",)),
        # on the user's own machine
        Provider("llamacpp", "http://localhost:8080/v1"),
        Provider("lmstudio", "http://localhost:1234/v1"),
        Provider("ollama", "http://localhost:11434/v1"),
        Provider("sglang", "http://localhost:30000/v1"),
        Provider("vllm", "http://localhost:8000/v1"),
    )
}
"""The providers that need no configuration but a key."""


def variable(provider: str, what: str) -> str:
    """Return the environment variable of a provider, such as ``OPENAI_BASE_URL``."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in provider).upper() + f"_{what}"
