"""An adapter for requests whose every sending takes a permit: of retries and redirects, too::

    limiter = throng.RateLimiter("300/1m")
    session = throng.requests.limited(requests.Session(), limiter)
    r = session.get(url)                # waits for its turn; a 429 waits and is sent again
"""

import time
from typing import Any

import requests
import requests.adapters

from ._retry import Cost, Key, Policy, is_refused
from .limiter import Permit, RateLimiter


class Adapter(requests.adapters.HTTPAdapter):
    """Sends requests as a limiter allows: ``session.mount("https://", Adapter(limiter))``.

    ``response.permit`` is the permit, to settle what the request has cost.
    """

    def __init__(
        self,
        limiter: RateLimiter,
        *,
        retries: int = 3,
        cost: Cost | None = None,
        key: Key | None = None,
        pool_connections: int = 10,
        pool_maxsize: int = 100,
        pool_block: bool = False,
    ) -> None:
        """
        :param limiter: gives the permits
        :param retries: how often a request is sent again: after a refusal, and, where it may
            arrive twice, after a timeout, a lost connection, or a status such as 503
        :param cost: gives what a request costs in the units that limits count
        :param key: gives whose limits it counts against
        """
        # Retries of the adapter's own would take no permit.
        super().__init__(pool_connections, pool_maxsize, max_retries=0, pool_block=pool_block)
        self._policy = Policy(limiter, retries, cost, key)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        """Sends a request when it is its turn."""
        method, attempt = request.method or "GET", 0
        can_repeat = request.body is None or isinstance(request.body, (bytes, str))
        while True:
            permit = self._policy.wait(request)
            try:
                response = super().send(request, stream, timeout, verify, cert, proxies)
            except BaseException as error:
                pause = self._after_error(method, permit, attempt, error)
                if pause is None or not can_repeat:
                    raise
            else:
                permit.report(response)
                refused = is_refused(response.status_code, response.headers)
                pause = self._policy.again(method, attempt, response.status_code, refused)
                if pause is None or not can_repeat:
                    return _with_permit(response, permit, stream)
                response.close()
                permit.end()
            time.sleep(pause)
            attempt += 1

    def _after_error(
        self, method: str, permit: Permit, attempt: int, error: BaseException
    ) -> float | None:
        """Reports an error; gives the pause before the request is sent again, if it is."""
        # A failed connection looks the same as one that was lost, but for its text.
        not_sent = isinstance(error, requests.ConnectTimeout) or (
            isinstance(error, requests.ConnectionError) and "NewConnectionError" in repr(error)
        )
        permit.cancel() if not_sent else permit.lost()
        permit.end()
        if not isinstance(error, (requests.ConnectionError, requests.Timeout)):
            return None
        return self._policy.again_after_error(method, attempt, not not_sent)


def _with_permit(response: requests.Response, permit: Permit, stream: bool) -> requests.Response:
    """The response with its permit, which ends when the body has been read."""
    response.permit = permit  # type: ignore[attr-defined]
    if stream:
        close = response.close

        def close_both() -> None:
            close()
            permit.read()

        response.close = close_both  # type: ignore[method-assign]
    else:
        # The session would read it anyway, in a moment.
        _body = response.content
        permit.read()
    return response


def limited(session: requests.Session, limiter: RateLimiter, **options: Any) -> requests.Session:
    """A session all of whose requests take permits; options are those of `Adapter`."""
    adapter = Adapter(limiter, **options)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
