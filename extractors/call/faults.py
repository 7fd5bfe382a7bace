"""What a reply that is no answer stands for. Together's taxonomy, decided on the HTTP status first.

| status | outcome | remedy |
|---|---|---|
| 400, 415, 422, other 4xx | `client_error` | never: permanent for this document |
| 401, 402, 404, 405, 407, 410, 3xx | `client_error` | stop: nothing can succeed until a person changes something |
| 403 | `context_exceeded` | never at this size; where every call ends so, it is the key (`breaker.py`) |
| 408, 409, 425, 5xx | `server_error` | again |
| 429 | `rate_limited` | later: uses up no attempt |
| 503 | `capacity` | again |
| 200 without an answer in it | `server_error` | again |
| no reply | `timeout`, `connection` | again; nobody knows whether it is billed |

What stops a run says so where anybody may read it, so a fault has two texts. Of what the server said, `message` has only
what a model or an image cannot have written: nothing of a body under 2xx or 5xx, which may hold an answer.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Literal

import aiohttp
import httpx
import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping


from extractors.core import Billing, Outcome, Refusal
from extractors.core.errors import first_line

Remedy = Literal["again", "later", "never", "stop"]
MAX_WAIT = 300.0  # seconds; a server that asks for more is asked again after this
MAX_MESSAGE_CHARS = 200  # characters of a server's message
ERROR_CODE = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")  # of an error, as `invalid_api_key`: a sentence is none
MAX_CODE_CHARS = 60  # characters
# Error codes that speak of one image, as OpenAI's API lists them: another image may be answered.
IMAGE_CODES = frozenset(
    {
        *("invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "invalid_image_mode"),
        *("image_too_large", "image_too_small", "image_file_too_large", "image_parse_error", "empty_image_file"),
        *("unsupported_image_media_type", "failed_to_download_image", "image_file_not_found"),
        *("image_content_policy_violation", "content_policy_violation", "content_filter"),
    }
)
EPOCH = 1e9  # an `x-ratelimit-reset` above this is a time, not a number of seconds


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong, what to do about it, in words; how long the server asks to wait; whether it may be billed.

    `refusal` is set where the request was refused and not one image. `message` may be shown anywhere. `server_message` has the server's words, whatever they are: it belongs into the tables alone.
    """

    outcome: Outcome
    remedy: Remedy
    message: str
    wait: float | None = None
    billed: Billing = "no"
    server_message: str = ""
    refusal: Refusal | None = None

    @property
    def full_message(self) -> str:
        """What the tables say of it."""
        return self.server_message or self.message


def classify_status(status: int, reason: str, headers: Mapping[str, str], body: str) -> Fault | None:
    """The fault of a reply with this status; None for 200."""
    if status == 200:
        return None
    words = extract_message(body) or reason
    fault = partial(
        Fault, message=f"{status} {_format_public(status, body)}".rstrip(), server_message=f"{status} {words}"
    )
    if status == 429:
        return fault("rate_limited", "later", wait=parse_wait(headers, "x-ratelimit-reset"))
    if status == 503:
        return fault("capacity", "again", wait=parse_wait(headers))
    if status in {401, 402, 404, 405, 407, 410} or 300 <= status < 400:
        return fault("client_error", "stop")
    if status == 403 or (status in {400, 413} and _is_context_overflow(words)):
        return fault("context_exceeded", "never")
    if status in {408, 409, 425} or status >= 500:
        return fault("server_error", "again", wait=parse_wait(headers))
    code = find_error_code(_parse_json(body))
    return fault("client_error", "never", refusal=None if code in IMAGE_CODES else Refusal(status, code))


def classify_error(error: Exception) -> Fault:
    """The fault of a call without a whole reply. The aiohttp transport reports a broken connection as a timeout, too."""
    cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
    if isinstance(cause, TimeoutError | httpx.TimeoutException):
        return Fault("timeout", "again", "no whole reply within the time limit", billed="unknown")
    name, words = type(cause).__name__, first_line(error)
    # What the system says of a connection is its own; a parser quotes the bytes that it cannot read.
    message = f"{name}: {words}" if isinstance(cause, OSError) else name
    return Fault("connection", "again", message, billed="unknown", server_message=f"{name}: {words}")


def parse_wait(headers: Mapping[str, str], other: str = "", now: float | None = None) -> float | None:
    """Seconds that the server asks to wait, capped: `Retry-After` as seconds or a date, else this other header's."""
    now = time.time() if now is None else now
    seconds = _parse_seconds(headers.get("retry-after", ""), now)
    if seconds is None:
        seconds = _parse_seconds(headers.get(other, ""), now)
    return None if seconds is None else min(max(seconds, 0.0), MAX_WAIT)


def remove_images(text: str) -> str:
    """The text without the base64 of an image that a server may have sent back."""
    if "base64," not in text:
        return text
    return re.sub(r"data:[\w/+.-]*;base64,[\w+/=\\]*", "[image]", text)


def extract_message(body: str) -> str:
    """The server's words on one line, without any image that it may have sent back."""
    said = _find_message(body)
    return _clean_line(re.sub(r"<[^>]*>", " ", body[:10_000]) if said is None else said)


def find_error_code(parsed: object) -> str:
    """What an error's JSON calls it, by its code or its type; empty where that is no name."""
    error = parsed.get("error") if isinstance(parsed, dict) else None
    named = [error.get("code"), error.get("type")] if isinstance(error, dict) else []
    return next(
        (
            each
            for each in named
            if isinstance(each, str) and len(each) <= MAX_CODE_CHARS and ERROR_CODE.fullmatch(each)
        ),
        "",
    )


def _format_public(status: int, body: str) -> str:
    """What may be shown of an error: of a 4xx, which comes before an answer, the API's sentence; else its name.

    Where such a sentence goes on to quote the request, in which an earlier answer may stand, it is cut.
    """
    words = _clean_line(re.split(r'[\[{<"]', _find_message(body) or "")[0]) if 400 <= status < 500 else ""
    if words:
        return words
    return ", ".join(filter(None, [httpx.codes.get_reason_phrase(status), find_error_code(_parse_json(body))]))


def _find_message(body: str) -> str | None:
    """The sentence in an error's JSON; None where there is no such thing."""
    parsed = _parse_json(body)
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    words = error.get("message") if isinstance(error, dict) else error
    return words if isinstance(words, str) else None


def _parse_json(body: str) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _clean_line(text: str) -> str:
    shown = re.sub(r"[\w+/=]{200,}", "[image]", remove_images(text[:10_000]))
    return " ".join("".join(each if each.isprintable() else " " for each in shown).split())[:MAX_MESSAGE_CHARS]


def _parse_seconds(value: str, now: float) -> float | None:
    if re.fullmatch(r"\d{1,15}(\.\d+)?", value.strip()):
        number = float(value)
        return number - now if number > EPOCH else number
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now


def _is_context_overflow(words: str) -> bool:
    return bool(
        re.search(
            r"context.{0,20}(length|window)|maximum context|too many tokens|prompt is too long", words, re.IGNORECASE
        )
    )
