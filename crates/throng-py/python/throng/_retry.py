"""When a client's request is sent again."""

import random
from collections.abc import Callable
from typing import Any

from ._throng import PermitExpired
from .limiter import Acquisition, Permit, RateLimiter, checked

# Methods whose requests may arrive twice.
_REPEATABLE = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"}

# The longest pause before a request is sent again, in seconds.
_LONGEST = 30.0

#: What a request costs in the units that limits count, besides the request itself.
Cost = Callable[[Any], dict[str, int]]
#: Whose limits a request counts against, of those that each key has for itself.
Key = Callable[[Any], str]


class Policy:
    """How often requests are sent again, and what each costs."""

    def __init__(
        self, limiter: RateLimiter, retries: int, cost: Cost | None, key: Key | None
    ) -> None:
        self.limiter, self.retries = checked(limiter), retries
        self._cost, self._key = cost, key

    def wait(self, request: Any) -> Permit:
        """Waits for the permit of one sending, which is about to be written."""
        while True:
            permit = self._acquire(request).wait()
            if _is_in_time(permit):
                return permit

    async def wait_async(self, request: Any) -> Permit:
        """As `wait`, in an event loop."""
        while True:
            permit = await self._acquire(request)
            if _is_in_time(permit):
                return permit

    def _acquire(self, request: Any) -> Acquisition:
        cost = self._cost(request) if self._cost is not None else {}
        key = self._key(request) if self._key is not None else None
        return self.limiter.acquire(key=key, **cost)

    def again(self, method: str, attempt: int, status: int, refused: bool) -> float | None:
        """The pause before the next sending, in seconds; None if there is none. The limiter
        itself pauses after a refusal."""
        if attempt >= self.retries:
            return None
        if refused:
            return 0.0
        if method.upper() in _REPEATABLE and status in (408, 425, 500, 502, 503, 504):
            return backoff(attempt)
        return None

    def again_after_error(self, method: str, attempt: int, arrived: bool) -> float | None:
        """The pause before the next sending after an error; None if there is none."""
        if attempt >= self.retries or (arrived and method.upper() not in _REPEATABLE):
            return None
        return backoff(attempt)


def _is_in_time(permit: Permit) -> bool:
    """Notes that a request is about to be written, unless its permit is too old."""
    try:
        permit.sent()
    except PermitExpired:
        permit.end()
        return False
    return True


def backoff(attempt: int) -> float:
    """A pause that doubles with each attempt, with a part by chance."""
    return min(_LONGEST, 0.5 * 2.0**attempt) * random.uniform(0.5, 1.0)


def is_refused(status: int, headers: Any) -> bool:
    """Whether an answer is a refusal for the limit's sake."""
    return status == 429 or (status == 503 and "retry-after" in headers)
