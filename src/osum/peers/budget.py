"""What answers of a language model cost, and how much may still be spent on them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from osum.errors import EndpointUnusableError

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """Of a million tokens, in any one currency."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / _MILLION


@dataclass(slots=True)
class Bill:
    """What one call costs: the most it can be, until it is known."""

    amount: float


class CostBudget:
    """What may still be spent; shared by threads.

    A call sets aside the most that it can cost, so that the limit holds: a token is at least one byte of UTF-8, so the
    bytes that are sent bound its tokens. An answer that was lost on its way may be on the bill, and counts whole.
    """

    def __init__(self, prices: Prices, limit: float) -> None:
        self.prices, self._limit = prices, limit
        self._spent, self._open = 0.0, list[Bill]()
        self._changed = threading.Condition()

    @contextmanager
    def call(self, num_bytes: int, max_tokens: int) -> Iterator[Bill]:
        """The bill of one call, which lowers its amount to what it knows; waits while calls of others may free enough.

        Raises:
            EndpointUnusableError: the call could go beyond the limit.
        """
        bill = Bill(self.prices.of(num_bytes, max_tokens))
        with self._changed:
            self._changed.wait_for(lambda: not self._open or self._fits(bill))
            if not self._fits(bill):
                raise EndpointUnusableError(
                    f"the next answer may cost {bill.amount:.4f}, and {self._spent:.4f} of {self._limit:g} are spent: "
                    "raise the limit of cost to continue; existing verdicts are kept"
                )
            self._open.append(bill)
        try:
            yield bill
        finally:
            with self._changed:
                self._open = [other for other in self._open if other is not bill]
                self._spent += bill.amount
                self._changed.notify_all()

    def _fits(self, bill: Bill) -> bool:
        return self._spent + sum(other.amount for other in self._open) + bill.amount <= self._limit
