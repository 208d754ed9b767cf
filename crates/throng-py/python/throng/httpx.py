"""A transport for httpx whose every sending takes a permit: of retries and redirects, too::

    limiter = throng.RateLimiter("300/1m")
    client = httpx.AsyncClient(transport=throng.httpx.Transport(limiter))
    r = await client.get(url)           # waits for its turn; a 429 waits and is sent again
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import httpx

from ._retry import Cost, Key, Policy, is_refused
from .limiter import Permit, RateLimiter

# Errors after which nothing was sent.
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


class Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Sends requests as a limiter allows, for `httpx.Client` and `httpx.AsyncClient` alike.

    ``response.extensions["permit"]`` is the permit, to settle what the request has cost.
    """

    def __init__(
        self,
        limiter: RateLimiter,
        transport: httpx.BaseTransport | httpx.AsyncBaseTransport | None = None,
        *,
        retries: int = 3,
        cost: Cost | None = None,
        key: Key | None = None,
        **options: Any,
    ) -> None:
        """
        :param limiter: gives the permits
        :param transport: what sends; a transport of httpx if not given
        :param retries: how often a request is sent again: after a refusal, and, where it may
            arrive twice, after a timeout, a lost connection, or a status such as 503
        :param cost: gives what a request costs in the units that limits count
        :param key: gives whose limits it counts against
        :param options: those of `httpx.HTTPTransport`, such as ``http2=True``
        """
        self._policy = Policy(limiter, retries, cost, key)
        self._options = options
        # One transport serves both kinds of client, whose connections are their own.
        self._sync = cast(httpx.BaseTransport | None, transport)
        self._async = cast(httpx.AsyncBaseTransport | None, transport)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request of a `httpx.Client`."""
        transport = self._sync = self._sync or httpx.HTTPTransport(**self._options)
        attempt = 0
        while True:
            permit = self._policy.wait(request)
            try:
                response = transport.handle_request(request)
            except BaseException as error:
                pause = self._after_error(request, permit, attempt, error)
                if pause is None:
                    raise
            else:
                pause = self._after(request, response, permit, attempt)
                if pause is None:
                    return response
                response.close()
            time.sleep(pause)
            attempt += 1

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request of a `httpx.AsyncClient`."""
        transport = self._async = self._async or httpx.AsyncHTTPTransport(**self._options)
        attempt = 0
        while True:
            permit = await self._policy.wait_async(request)
            try:
                response = await transport.handle_async_request(request)
            except BaseException as error:
                pause = self._after_error(request, permit, attempt, error)
                if pause is None:
                    raise
            else:
                pause = self._after(request, response, permit, attempt)
                if pause is None:
                    return response
                await response.aclose()
            await asyncio.sleep(pause)
            attempt += 1

    def _after(
        self, request: httpx.Request, response: httpx.Response, permit: Permit, attempt: int
    ) -> float | None:
        """Reports an answer; gives the pause before the request is sent again, if it is."""
        permit.report(response)
        refused = is_refused(response.status_code, response.headers)
        response.extensions = {**response.extensions, "permit": permit}
        response.stream = _Stream(response.stream, permit)
        if not _can_repeat(request):
            return None
        return self._policy.again(request.method, attempt, response.status_code, refused)

    def _after_error(
        self, request: httpx.Request, permit: Permit, attempt: int, error: BaseException
    ) -> float | None:
        """Reports an error; gives the pause before the request is sent again, if it is."""
        not_sent = isinstance(error, _NOT_SENT)
        permit.cancel() if not_sent else permit.lost()
        permit.end()
        if not isinstance(error, httpx.TransportError) or not _can_repeat(request):
            return None
        if isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
            return None
        return self._policy.again_after_error(request.method, attempt, not not_sent)

    def close(self) -> None:
        """Closes the connections."""
        if self._sync is not None:
            self._sync.close()

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._async is not None:
            await self._async.aclose()


def _can_repeat(request: httpx.Request) -> bool:
    """Whether the body can be read again."""
    return isinstance(request.stream, httpx.ByteStream)


class _Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of an answer, at whose end the request is no more in flight."""

    def __init__(self, stream: Any, permit: Permit) -> None:
        self._stream, self._permit = stream, permit

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    def close(self) -> None:
        self._stream.close()
        self._permit.read()

    async def aclose(self) -> None:
        await self._stream.aclose()
        self._permit.read()
