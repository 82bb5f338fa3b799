"""Addresses of endpoints: what is a URL, what is this machine or near it, and whose key may go where without leave."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from toolkit.common.reach import Asked


def url_parts(value: str) -> SplitResult:
    """The parts of a URL; ValueError where it is none, or its host can be no name."""
    try:
        parts = urlsplit(value)
        (parts.hostname or "").encode("idna")
        if not value.isprintable() or " " in value or parts.port == 0:
            raise ValueError("a character that no URL has")
    except ValueError as e:
        raise ValueError(f"not a URL ({e})") from None
    return parts


OWN_KEYS = {
    "OPENAI_API_KEY": "api.openai.com",
    "MISTRAL_API_KEY": "api.mistral.ai",
    "DEEPSEEK_API_KEY": "api.deepseek.com",
    "GROQ_API_KEY": "api.groq.com",
    "TOGETHER_API_KEY": "api.together.xyz",
    "FIREWORKS_API_KEY": "api.fireworks.ai",
    "OPENROUTER_API_KEY": "openrouter.ai",
}
"""Variables that are known to hold the key of a host, and so go there without leave."""


def is_here(url: str) -> bool:
    """Whether an address is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or (address := ip_address(host)).is_loopback or address.is_unspecified  # 0.0.0.0, as servers call themselves
    except ValueError:
        return False


def is_near(url: str) -> bool:
    """Whether an address is this machine or a private network: such an endpoint needs no key."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return (address := ip_address(host)).is_private or address.is_loopback
    except ValueError:
        return False


def key_leaves(name: str, config: Any) -> Iterator[Asked]:
    """A variable goes without leave to the host that it is the key of; and, if by its name it is an endpoint's key, to this machine."""
    url = config.base_url
    own = OWN_KEYS.get(name) == urlsplit(url).hostname and url.startswith("https://")
    if not own and not (is_here(url) and name.endswith("_API_KEY")):
        yield Asked(f"api_key_env={name}", f"it sends the environment variable {name} to {url}")
