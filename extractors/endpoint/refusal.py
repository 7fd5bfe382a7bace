"""The documented errors of the API: raised anywhere in the endpoint, answered by the app as `{"error": {...}}`."""

from __future__ import annotations

_TYPES = {
    400: "invalid_request_error",
    404: "not_found_error",
    405: "invalid_request_error",
    500: "server_error",
    503: "service_unavailable",
}


class RequestError(Exception):
    """A request that is answered with an error status.

    The message must never quote the request: it may hold a picture.
    """

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code

    def body(self) -> dict[str, dict[str, str | None]]:
        """The documented error body."""
        kind = _TYPES.get(self.status, "api_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}
