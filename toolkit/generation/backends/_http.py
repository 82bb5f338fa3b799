"""The wire of the backend ``openai``: one event loop thread for the process, and requests sent straight through aiohttp.

Contract: the openai package says where the endpoint is and which headers and key it gets; what is measured in thousands of requests a second does
not go through its objects. A `Wire` holds a connection pool without a limit of its own: how many requests are in flight is decided elsewhere, and
a limit here would silently cap it. Proxies and certificates are those of the environment (``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE``, …), as
for the package; compressed answers are unpacked, cookies ignored. Of redirects only a 307 or 308 within the endpoint's own origin is followed, three
times at most, so that neither key nor prompt goes anywhere else; any other one is the answer.

Memory: a body is read, and unpacked, piece by piece, so many bytes at most; no more of it than that is ever held. Headers are bounded by aiohttp (128
lines of 8 KiB). Secrets: what is sent in headers, and the proxy's login, is cut out of a body before anybody sees it (`toolkit.common.secrets`).

Failure semantics: `Wire.post` gives status, headers and body of whatever answer there was (of an error's body the beginning), or raises
`AttemptError`: ``timeout``, or ``connection`` (``lost`` tells whether the request may have been sent), ``too_large``, or ``malformed`` where the body
cannot be read. Too few open files for the concurrency, an address, proxy or certificate file that cannot be used is an error when the wire is made.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import random
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from toolkit.common.errors import InputError
from toolkit.common.http import ERROR
from toolkit.common.secrets import protect, protect_proxies, redact_body
from toolkit.generation._addresses import url_parts
from toolkit.generation._answers import too_large
from toolkit.generation._attempt_faults import AttemptError

if TYPE_CHECKING:
    import aiohttp

    from toolkit.generation._endpoint_config import Paced

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds of the first and of the longest wait between attempts (the openai package's own first wait; a longer cap for long outages)."""

CLOSING = 10.0
"""Seconds that closing waits for the event loop."""

_CONNECT = 30.0
"""Seconds that making a connection may take (part of the attempt's own time)."""

_IDLE = 4.0
"""Seconds that an idle connection is kept: less than servers keep theirs (uvicorn, and so vLLM: 5), so that none is used that is being closed."""

_HOPS = 3
"""Redirects that are followed."""

_FILES = 256
"""Open files beside the connections."""

_SWITCH = 0.0005
"""Seconds after which Python takes the interpreter from a busy thread, while the loop runs: three threads (loop, journal, caller) hand work to one
another, and at Python's own 5 ms each hand-over waits that long. Measured with the journal on at 500 ms latency and 1,024 in flight: 1,100
requests/s at 5 ms, 1,400–1,500 at 0.5 ms, for the same CPU time."""

_GARBAGE = (20_000, 20, 20)
"""Thresholds of Python's cycle collector while the loop runs. Every request in flight is some dozens of live objects, which its own thresholds (700,
10, 10) make it go through again and again: a fifth of the loop's time at 256 in flight; with these, a sixth more requests/s."""


class LoopThread:
    """An event loop on a thread of its own; `acquire` and `release` share one for the process.

    While there is one, the interpreter's hand-over between threads and its cycle collector are tuned (`_SWITCH`, `_GARBAGE`).
    """

    _shared: LoopThread | None = None
    _users = 0
    _before: tuple[float, tuple[int, int, int]] = (0.0, (0, 0, 0))
    _lock = threading.Lock()

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()  # uvloop's was measured: no faster here
        self.loop.set_exception_handler(_report)
        self._thread = threading.Thread(target=self._run, name="guardkit-openai", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls) -> LoopThread:
        """The process's loop; started for its first user."""
        with cls._lock:
            if cls._shared is None:
                cls._shared = cls()
                cls._before = sys.getswitchinterval(), gc.get_threshold()
                sys.setswitchinterval(min(_SWITCH, cls._before[0]))
                if cls._before[1][0]:  # 0: the collector is off
                    gc.set_threshold(*_GARBAGE)
            cls._users += 1
            return cls._shared

    @classmethod
    def release(cls) -> None:
        """One user less; the last one ends the thread."""
        with cls._lock:
            cls._users -= 1
            if cls._users or cls._shared is None:
                return
            ending, cls._shared = cls._shared, None
            sys.setswitchinterval(cls._before[0])
            gc.set_threshold(*cls._before[1])
        ending.loop.call_soon_threadsafe(ending.loop.stop)
        ending._thread.join(CLOSING)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class Wire:
    """Sends requests to one endpoint; made on any thread, then opened, used and closed on the loop's.

    Raises:
        InputError: the address or the proxy cannot be used, the certificates cannot be read, or fewer files may be open than `config.concurrency`
            needs.
    """

    def __init__(self, config: Paced, key: str, path: str) -> None:
        import httpx2
        import openai

        _allow_files(config.concurrency + _FILES)
        unused = httpx2.AsyncClient(transport=httpx2.AsyncBaseTransport(), trust_env=False)  # sends nothing: what is wanted is what it would send
        with usable(config.base_url):
            client = openai.AsyncOpenAI(api_key=key, base_url=config.base_url, http_client=unused)
        self.url = str(client.base_url).rstrip("/") + path
        self._headers = {k: v for k, v in {**client.default_headers, **client.auth_headers}.items() if isinstance(v, str)}
        protect_headers(self._headers)
        self._headers["Content-Type"] = "application/json"
        self._timeout = config.timeout
        self._proxy, login = _proxy(self.url)
        self._proxy_headers: dict[str, str] = {}
        if login is not None:  # a tunnel's own request carries it; without a tunnel, every request
            (self._headers if self.url.startswith("http://") else self._proxy_headers)["Proxy-Authorization"] = login
        with usable(config.base_url):
            self._ssl = httpx2.create_ssl_context() if "https" in (urlsplit(self.url).scheme, urlsplit(self._proxy or "").scheme) else None
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the connection pool."""
        import aiohttp

        class Connector(aiohttp.TCPConnector):
            async def connect(self, *args: Any, **more: Any) -> Any:
                try:
                    return await super().connect(*args, **more)
                except (aiohttp.ServerConnectionError, aiohttp.ClientOSError) as e:
                    if isinstance(e, TimeoutError):
                        raise
                    raise _NotSentError from e  # a proxy that broke off before there was a tunnel

        connector = Connector(limit=0, keepalive_timeout=_IDLE, ttl_dns_cache=60, ssl=self._ssl or True)
        timeout = aiohttp.ClientTimeout(total=self._timeout, sock_connect=min(_CONNECT, self._timeout))
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            headers=None if self._proxy else self._headers,  # aiohttp would send a session's headers, the key among them, to the proxy
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent",),
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, body: bytes, most: int) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the answer.

        Args:
            body: what is sent.
            most: bytes that the body of an answer (2xx) may have.

        Raises:
            AttemptError: there is none.
        """
        url, hops = self.url, 0
        while True:
            status, headers, answer = await self._post(url, body, most)
            if status not in (307, 308) or hops == _HOPS or (there := same_origin(url, headers.get("Location"))) is None:
                return status, headers, answer
            url, hops = there, hops + 1

    async def _post(self, url: str, body: bytes, most: int) -> tuple[int, Mapping[str, str], bytes]:
        import aiohttp

        assert self._session is not None  # noqa: S101  the backend opens it first
        try:
            sending = self._session.post(
                url,
                data=body,
                headers=self._headers if self._proxy else None,
                proxy=self._proxy,
                proxy_headers=self._proxy_headers,
                allow_redirects=False,
            )
            async with sending as answer:
                return answer.status, answer.headers, redact_body(await _body(answer, most))
        except aiohttp.ConnectionTimeoutError as e:
            raise AttemptError("connection", f"no connection within {min(_CONNECT, self._timeout):g} s: {e}", again=True) from None
        except TimeoutError:
            raise AttemptError("timeout", f"no answer within {self._timeout:g} s", again=True, lost=True) from None
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.InvalidURL, _NotSentError) as e:
            raise AttemptError("connection", innermost(e), again=True) from None
        except (aiohttp.ClientError, OSError) as e:
            raise AttemptError("connection", innermost(e), again=True, lost=True) from None


class _NotSentError(Exception):
    """The connection broke before anything of the request was sent."""


async def _body(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of an answer, of at most so many bytes; of an error's the first `ERROR`.

    Raises:
        AttemptError: ``too_large``; or ``malformed``: it cannot be read, and not because the connection broke.
    """
    import aiohttp

    good = 200 <= answer.status < 300
    most = most if good else ERROR
    parts: list[bytes] = []
    left = most
    try:
        while left >= 0 and (part := await answer.content.readany()):
            parts.append(part)
            left -= len(part)
        if left >= 0:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        answer.close()  # and with it the connection, on which the rest would come
        if good:
            raise too_large(most, answer.status)
        return b"".join(parts)[:most]
    except AttemptError:
        raise
    except (aiohttp.ClientError, OSError):
        raise
    except Exception as e:  # noqa: BLE001  whatever a server's bytes do to whoever unpacks them is that answer's failure, not the run's
        raise AttemptError("malformed", f"{type(e).__name__} while reading the answer: {e}", again=True, status=answer.status, lost=True) from None


def same_origin(url: str, location: str | None) -> str | None:
    """Where a redirect leads, if that is of the same scheme, host and port and names no user; else None."""
    from yarl import URL

    try:
        here = URL(url)
        there = here.join(URL(location or ""))
        return str(there) if location and there.user is None and there.password is None and there.origin() == here.origin() else None
    except (ValueError, TypeError):
        return None


def protect_headers(headers: Mapping[str, str]) -> None:
    """The values of the headers that are not the same for everybody are secrets."""
    for name, value in headers.items():
        if not name.lower().startswith(("accept", "content-", "user-agent", "x-stainless-")):
            for part in value.replace(";", " ").split():  # a scheme, Bearer or Basic, is too short to be one
                protect(part)


@contextmanager
def usable(url: str) -> Iterator[None]:
    """What makes of an address, or of the environment's proxies and certificates, something that can be used.

    Raises:
        InputError: it cannot.
    """
    import httpx2

    try:
        yield
    except (ValueError, TypeError, ImportError, OSError, httpx2.InvalidURL) as e:  # OSError: a file of certificates that is not there, or holds none
        raise InputError(
            f"{url} cannot be asked ({type(e).__name__}: {e})",
            hint="check base_url, and HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR of the environment",
        ) from None


def innermost(error: BaseException) -> str:
    """What first went wrong: type and words."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return f"{type(error).__name__}: {error}".rstrip(": ")


def backoff(attempt: int) -> float:
    """Seconds to wait after attempt number `attempt` (from 0): doubling, capped, a random half of it taken off at most."""
    return float(min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt, 16)) * random.uniform(0.5, 1.0))


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What the loop reports, but for aiohttp's list of a thousand open connections where a program ends without closing the backend."""
    if "client_session" not in context and "connector" not in context:
        loop.default_exception_handler(context)


def proxy_for(url: str) -> SplitResult | None:
    """The environment's proxy for `url`; None where there is none, and for this machine, which needs none.

    Raises:
        InputError: it is no URL.
    """
    from urllib.request import getproxies, proxy_bypass

    protect_proxies()
    parts = urlsplit(url)
    proxies = getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or proxy_bypass(parts.netloc) or parts.hostname in ("localhost", "127.0.0.1", "::1"):
        return None
    try:
        where = url_parts(found if "://" in found else f"http://{found}")
        if where.hostname:
            return where
    except ValueError:
        pass
    raise InputError(f"the proxy of the environment for {parts.scheme}:// addresses is no URL", hint=_other_proxy(parts))


def _proxy(url: str) -> tuple[str | None, str | None]:
    """The environment's proxy for `url` without its password, and the login that it gets (value of ``Proxy-Authorization``).

    Raises:
        InputError: aiohttp cannot use it.
    """
    if (where := proxy_for(url)) is None:
        return None, None
    if where.scheme not in ("http", "https"):
        parts = urlsplit(url)
        raise InputError(
            f"the proxy of the environment for {parts.scheme}:// addresses is a {where.scheme} proxy; only http and https proxies can be used",
            hint=_other_proxy(parts),
        )
    login = None
    if where.username:
        login = "Basic " + base64.b64encode(f"{unquote(where.username)}:{unquote(where.password or '')}".encode()).decode()
    return urlunsplit((where.scheme, where.netloc.rpartition("@")[2], where.path, "", "")), login


def _other_proxy(parts: SplitResult) -> str:
    return f"set {parts.scheme.upper()}_PROXY to an http:// proxy, or NO_PROXY={parts.hostname}"


def _allow_files(wanted: int) -> None:
    """Raise this process's soft limit of open files to `wanted`.

    Raises:
        InputError: the hard limit is below that.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise InputError(
            f"concurrency {wanted - _FILES:,} needs {wanted:,} open files, and this process may have {hard:,}",
            hint=f"raise the limit (ulimit -n {wanted}), or set concurrency to {max(1, hard - _FILES)} or less",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
