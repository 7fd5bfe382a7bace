"""The HTTP client: httpx's API on aiohttp's connections, one pool for a run."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
from httpx import USE_CLIENT_DEFAULT
from httpx_aiohttp import HttpxAiohttpClient

from extractors.core.errors import ConfigurationError, first_line

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable, Iterator

    from httpx._client import UseClientDefault
    from httpx._types import AuthTypes

    from extractors.call.profiles import Endpoint

CONNECT_SECONDS = 10.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})  # never behind a proxy


@contextmanager
def translate_client_errors() -> Iterator[None]:
    """Raises ConfigurationError if a client cannot be built from the certificates and proxies of the environment."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"the certificates of SSL_CERT_FILE or SSL_CERT_DIR cannot be read ({first_line(error)}):"
            " correct or unset the variable"
        ) from None
    except ValueError as error:
        raise ConfigurationError(
            f"the proxy of the environment cannot be used ({first_line(error)}):"
            " correct or unset HTTP_PROXY, HTTPS_PROXY and ALL_PROXY"
        ) from None


def check_client_environment() -> None:
    """Checks certificates and proxies of the environment, for clients that others build. Raises ConfigurationError."""
    with translate_client_errors():
        httpx.Client().close()


class BodyStream(httpx.AsyncByteStream):
    """The body of a request as its parts, which are sent in order without a copy of the whole."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        """`parts` are held until the request is."""
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Gives the parts in order."""
        for part in self._parts:
            yield part


class _Cookies(httpx.Cookies):
    """Cookies that are looked for only in replies that set some: httpx builds two objects of urllib to look."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Keeps the cookies of this response."""
        if "set-cookie" in response.headers:
            super().extract_cookies(response)


class _Client(HttpxAiohttpClient):
    @cached_property
    def cookies(self) -> httpx.Cookies:
        """The cookies of all requests."""
        return _Cookies()

    async def send(
        self,
        request: httpx.Request,
        *,
        stream: bool = False,
        auth: AuthTypes | UseClientDefault | None = USE_CLIENT_DEFAULT,
        follow_redirects: bool | UseClientDefault = USE_CLIENT_DEFAULT,
    ) -> httpx.Response:
        """As httpx does; a streamed request goes to the transport at once.

        The layers between are for redirects, authentication and hooks, which this client has none of.
        """
        if not stream:
            return await super().send(request, auth=auth, follow_redirects=follow_redirects)
        request.extensions = {**request.extensions, "timeout": self.timeout.as_dict()}
        response = await self._transport_for_url(request.url).handle_async_request(request)
        response.request = request
        self.cookies.extract_cookies(response)
        return response


def build_client(endpoint: Endpoint, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Builds a client for this endpoint; `transport` replaces the network in tests. Proxies come from the environment.

    It follows no redirects, so that the key and the user's headers and query reach this address only. Raises
    ConfigurationError if certificates or proxies of the environment cannot be used.
    """
    if endpoint.query:  # httpx logs every URL at this level, with its query
        logging.getLogger("httpx").setLevel(logging.WARNING)
    url = urlsplit(endpoint.base_url)
    near = url.hostname in LOOPBACK
    with translate_client_errors():
        return _Client(
            base_url=endpoint.base_url.rstrip("/") + "/",
            params=dict(endpoint.query),
            headers=_build_headers(endpoint),
            timeout=httpx.Timeout(endpoint.read_timeout, connect=CONNECT_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=endpoint.concurrency, max_keepalive_connections=endpoint.concurrency),
            transport=transport,
            trust_env=not near,
            verify=_share_certificates(needed=not near or url.scheme == "https"),
            follow_redirects=False,
        )


def _share_certificates(*, needed: bool) -> ssl.SSLContext:
    """The TLS context of all clients of this process: reading the certificates takes 45 ms, which a run would pay twice.

    Not `needed`: plain HTTP to this machine. No proxy and no redirect can lead from there to TLS, so none are read.
    """
    named = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")) if needed else (None, None)
    return _load_certificates(needed, *named)


@lru_cache(maxsize=4)
def _load_certificates(needed: bool, _file: str | None, _folder: str | None) -> ssl.SSLContext:  # noqa: FBT001 - a key of the cache
    """Reads the certificates again when SSL_CERT_FILE or SSL_CERT_DIR, which httpx reads itself, has another value."""
    return httpx.create_ssl_context(verify=needed)


def _build_headers(endpoint: Endpoint) -> httpx.Headers:
    """The headers of every request; the user's own win."""
    headers = httpx.Headers({"content-type": "application/json", "user-agent": "tilewise"})
    if endpoint.api_key:
        key, name = endpoint.api_key.get_secret_value(), endpoint.profile.key_header
        headers[name] = f"Bearer {key}" if name == "authorization" else key
    headers.update({name: value.get_secret_value() for name, value in endpoint.headers.items()})
    return headers
