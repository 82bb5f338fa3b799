"""What the configs of backends that ask a server over HTTP share."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from toolkit.common.reach import NeedsLeave
from toolkit.generation._addresses import is_near, key_leaves, url_parts
from toolkit.generation._base_config import BaseBackendConfig, Destination


class Address(BaseBackendConfig):
    """Where an endpoint is, and how long it is waited for."""

    requires: ClassVar[tuple[str, str] | None] = ("openai", "'guardkit[openai]'")

    model: str
    """The model's name at the endpoint."""
    base_url: str = "https://api.openai.com/v1"
    """Where the endpoint is."""
    endpoint: str | None = None
    """A name for the endpoint in journal keys, so that it may move to another address; default: its base URL."""
    revision: str = ""
    """Version of the model, where its name at the endpoint does not say: part of the key, not sent."""
    api_key_env: Annotated[str, NeedsLeave(key_leaves)] = "OPENAI_API_KEY"
    """Environment variable that holds the key. A local address needs none. To send it elsewhere than to the host whose key it is known to be needs
    leave: `--allow api_key_env=NAME`."""
    timeout: float = Field(default=180.0, gt=0)
    """Seconds for one attempt, from sending to the last byte."""
    retries: int = Field(default=5, ge=0)
    """Further attempts after a timeout, a broken connection, a server's error or a malformed answer. A 429 spends none."""
    patience: float = Field(default=900.0, ge=0)
    """Seconds that one request may wait for the rate limit in all, and that an outage of the endpoint may last before the run stops."""

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        parts = url_parts(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url must begin with http:// or https:// and name a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("base_url may hold no user, password, query or fragment: name the key's variable in api_key_env")
        return value.rstrip("/")

    @field_validator("endpoint")
    @classmethod
    def _plain_name(cls, value: str | None) -> str | None:
        if value is not None and "://" in value and ((parts := url_parts(value)).username or parts.password or parts.query or parts.fragment):
            raise ValueError("endpoint is written into the journal and may hold no user, password, query or fragment of a URL")
        return value

    @property
    def endpoint_name(self) -> str:
        """The declared name, by default the base URL."""
        return self.endpoint or self.base_url

    @property
    def needs_key(self) -> bool:
        return not is_near(self.base_url)

    def sends(self) -> Destination:
        return Destination(self.base_url, self.model, self.api_key_env)


class Paced(Address):
    """An endpoint that is asked concurrently, and how fast."""

    concurrency: int = Field(default=32, ge=1, le=16384)
    """Requests in flight at once, at most."""
    slow_start: bool = True
    """Begin with a quarter of `concurrency` (8 at least) and double it each round trip; false begins with all of it."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Ceiling on requests sent in a minute; None for none."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Ceiling on tokens, read and written, in a minute; None for none."""
