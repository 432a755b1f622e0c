"""What the explorer cannot answer, as a sentence with the status of HTTP that goes with it."""

from __future__ import annotations

from sae.errors import InsightError


class Refusal(InsightError):
    """A request that is refused. `status`: 400 where the request is wrong, 404 where something is not there, 413 where
    it is too large, 503 where the server is busy."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
