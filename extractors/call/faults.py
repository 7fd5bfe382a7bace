"""Classifies the replies that hold no answer, on the HTTP status first, and on the error code.

| status | outcome | remedy |
|---|---|---|
| 400, 415, 422, other 4xx | `client_error` | fail: permanent for this document |
| 401, 402, 404, 405, 407, 410, 3xx | `client_error` | stop: nothing can succeed until a person changes something |
| an account at its end, in any status | `client_error` | stop, as 402 |
| a request that exceeds the context, in any status | `context_exceeded` | fail at this size |
| 403, 413 | `context_exceeded` | fail at this size; where call after call ends with 403, it is the key (`circuit_breaker.py`) |
| 408, 409, 425, 498, 499, 5xx | `server_error` | retry |
| 429 | `rate_limited` | wait: uses up no attempt |
| 503 | `capacity` | retry |
| 200 with an error in it | as the status that its code stands for | |
| 200 without an answer in it | `server_error` | retry |
| no reply | `timeout`, `connection` | retry; it is unknown whether the call is billed |

A fault has two texts, since what stops a run is shown in public. `message` quotes only what a model or an image cannot
have written: nothing of a body under 2xx or 5xx, which may hold an answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import aiohttp
import httpx

from extractors.call.error_body import ErrorBody, clean_line, extract_message, parse_error, parse_json
from extractors.call.waits import parse_time, parse_wait
from extractors.core import Billing, Outcome, Refusal
from extractors.core.errors import first_line

if TYPE_CHECKING:
    from collections.abc import Mapping

Remedy = Literal["retry", "wait", "fail", "stop"]
STOPPING = frozenset({401, 402, 404, 405, 407, 410})
_TRANSIENT = frozenset({408, 409, 425, 498, 499})  # the last two: no capacity at Groq, and a proxy that gave up

# What an error's code says, with any status.
_QUOTA_CODES = re.compile(
    r"insufficient_?(quota|balance|credits?|funds)|credit_limit(_exceeded|_reached)?|budget_?exceeded|exceeded_?budget|out_of_credits|payment_required"
    r"|billing_(hard_limit_reached|not_active)|credit_balance_too_low|account_?(deactivated|suspended|overdue\w*)|arrearage"
    r"|exceeded_current_quota\w*|organization_restricted|blocked_api_access",
    re.IGNORECASE,
)
_CONTEXT_CODES = re.compile(r"context_?(length|window|size).*|exceed_context_size_error|prompt_too_long", re.IGNORECASE)
_RATE_CODES = re.compile(
    r"\w*rate_?limit(ed|_exceeded|_error|_reached|exceeded|reached)?|too_?many_?requests(exception)?"
    r"|dynamic_(request|token)_limited|throttling\w*",
    re.IGNORECASE,
)
_CODE_STATUS = (  # of an error inside a 200 whose code is a name
    (re.compile(r"invalid_api_key|authentication_error|unauthorized|invalid_authentication", re.IGNORECASE), 401),
    (re.compile(r"model_not_found|not_found_error", re.IGNORECASE), 404),
    (re.compile(r"invalid_request(_error)?|bad_request(_error)?|badrequesterror|invalid_argument", re.IGNORECASE), 400),
)
# What speaks of one image and not of the request: these refusals say nothing about other documents.
_IMAGE_CODES = re.compile(
    r"image|vision|media|base64|content_?(policy|filter)|moderation|safety|sensitive|inspection|context|too_large"
    r"|above_max_length",
    re.IGNORECASE,
)
_IMAGE_STATUSES = frozenset({415})

_QUOTA_WORDS = re.compile(
    r"exceeded your current quota|insufficient[ _](quota|balance|credits?|funds)|budget has been exceeded"
    r"|exceeded (your|the|its)? ?(monthly |daily )?(budget|spend(ing)? limit)|(key|credit) limit (is )?(exceeded|reached)|credit balance is too low|out of credits"
    r"|requires more credits|billing hard limit|account (\S{1,60} )?(is )?(not active|suspended|in arrears)"
    r"|balance is insufficient|overdue balance|over budget|(doesn't|does not|don't) have (any|enough) credits"
    r"|(reached|exceeded) (your|its|the) (specified |monthly |organization's )*(API )?(usage|spend(ing)?) limits?"
    r"|usage limit exceeded for this|余额不足|欠费",
    re.IGNORECASE,
)
_CONTEXT_WORDS = re.compile(
    r"\bcontext[ _-]?(length|window|size|limit)|maximum context|maximum model length|(prompt|input|request) (is )?too long"
    r"|too many (input |prompt )?tokens|(token count|tokens?|input|prompt|length)\b.{0,60}\b(exceeds?|longer than|greater than)"
    r"\b.{0,60}\b(tokens?|context|limit of this model|maximum (model|input|sequence|number of tokens)\w*)"
    r"|input exceeds the limit of this model|reduce the length of (the|your) (messages|prompt|input)|max_new_tokens. must be"
    r"|context the overflows|too large for model with|request too large for|must have less than \d+ tokens|session_len"
    r"|prompt exceeds max|range of input length should be|maximum (prompt|input) length|token limit exceeded"
    r"|should not exceed max_num_tokens",
    re.IGNORECASE,
)
# One request that is larger than all tokens of a minute: no wait helps.
_TOO_LARGE_WORDS = re.compile(r"request too large for", re.IGNORECASE)
_MODERATION_WORDS = re.compile(
    r"requires moderation|was flagged|content (management )?policy|(input|output|content|new)[ _]sensitive",
    re.IGNORECASE,
)
# A 403 that speaks of the key or of a gateway's rules, and not of the length of one request.
_DENIED_WORDS = re.compile(
    r"forbidden|denied|permission|not authorized|unauthorized|not (have access|allowed|supported)|blocked|(key|token|session)\b"
    r".{0,40}\b(expired|invalid|revoked|disabled)|error code: 1\d{3}|cloudflare|<html|captcha",
    re.IGNORECASE,
)
_WORD_STATUS = (  # of an error inside a 200 without a code
    (_QUOTA_WORDS, 402),
    (
        re.compile(
            r"(invalid|incorrect|missing) (api|secret) key|api key not valid|unauthorized|login fail", re.IGNORECASE
        ),
        401,
    ),
    (re.compile(r"rate.?limit|too many requests", re.IGNORECASE), 429),
    (_MODERATION_WORDS, 400),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong and what to do about it; how long the server asks to wait; whether the call may be billed.

    `message` may be shown in public. `server_message` quotes the server and is kept in the tables alone. `status` is the
    HTTP status that the error stands for, which may differ from that of the reply; 0 without a reply. `refusal` is set
    where the server refused the request and not one image; `doubtful` where another try may be let through: the key or a gateway refused it.
    """

    outcome: Outcome
    remedy: Remedy
    message: str
    wait: float | None = None
    billed: Billing = "no"
    server_message: str = ""
    status: int = 0
    refusal: Refusal | None = None
    doubtful: bool = False

    @property
    def full_message(self) -> str:
        """The text for the tables."""
        return self.server_message or self.message


def classify_status(status: int, reason: str, headers: Mapping[str, str], body: str) -> Fault | None:
    """The fault of a reply with this status; None for 200."""
    if status == 200:
        return None
    error, words = parse_error(parse_json(body)), extract_message(body) or reason
    message = f"{status} {_format_public(status, error)}".rstrip()
    return _classify(status, error, words, headers, message=message, server_message=f"{status} {words}")


def classify_error_body(parsed: object, headers: Mapping[str, str]) -> Fault:
    """The fault of an error inside a reply with status 200: the status that its code stands for decides."""
    error = parse_error(parsed)
    words = clean_line(error.message or "")
    message = "200 without an answer"
    shown = f"{message}: {error.code}" if error.code else message
    status = _read_status(error, words)
    return _classify(status, error, words, headers, message=shown, server_message=f"{message}: {words or error.code}")


def classify_exception(error: Exception) -> Fault:
    """The fault of a call without a whole reply. The aiohttp transport reports a broken connection as a timeout, too."""
    cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
    if isinstance(cause, TimeoutError | httpx.TimeoutException):
        return Fault("timeout", "retry", "no whole reply within the time limit", billed="unknown")
    name, words = type(cause).__name__, first_line(error)
    # The system's words about a connection are its own; a parser quotes the bytes that it cannot read.
    message = f"{name}: {words}" if isinstance(cause, OSError) else name
    return Fault("connection", "retry", message, billed="unknown", server_message=f"{name}: {words}")


def _classify(
    status: int, error: ErrorBody, words: str, headers: Mapping[str, str], *, message: str, server_message: str
) -> Fault:
    fault = partial(Fault, message=message, server_message=server_message, status=status)
    limited = status == 429 or _has_code(error, _RATE_CODES)
    wait = _find_wait(error, words, headers, limited=limited)
    if _is_quota(status, error, words, waits=limited and wait is not None):
        return fault("client_error", "stop", status=402)
    if limited and not _TOO_LARGE_WORDS.search(words):
        return fault("rate_limited", "wait", wait=wait)
    if status == 503:
        return fault("capacity", "retry", wait=wait)
    if status in STOPPING or 300 <= status < 400:
        return fault("client_error", "stop")
    if _is_context_overflow(error, words):
        return fault("context_exceeded", "fail")
    if status == 413 or (status == 403 and not _MODERATION_WORDS.search(words)):
        return fault("context_exceeded", "fail", doubtful=status == 413 or bool(_DENIED_WORDS.search(words)))
    if status in _TRANSIENT or status >= 500:
        return fault("server_error", "retry", wait=wait)
    about_image = _is_about_image(status, error, words)
    return fault("client_error", "fail", refusal=None if about_image else Refusal(status, error.code))


def _has_code(error: ErrorBody, pattern: re.Pattern[str]) -> bool:
    return any(pattern.fullmatch(code) for code in error.codes)


def _read_status(error: ErrorBody, words: str) -> int:
    """The HTTP status that an error inside a 200 stands for; 500 where it does not tell."""
    if error.status:
        return error.status
    named = next((status for pattern, status in _CODE_STATUS if _has_code(error, pattern)), None)
    worded = next((status for pattern, status in _WORD_STATUS if pattern.search(words)), None)
    return named or worded or 500


def _is_quota(status: int, error: ErrorBody, words: str, *, waits: bool) -> bool:
    """Whether the account is at its end. Gemini says so of a rate, too, and then it says how long to wait."""
    if _has_code(error, _QUOTA_CODES):
        return True
    return status < 500 and not waits and bool(_QUOTA_WORDS.search(words)) and "RESOURCE_EXHAUSTED" not in error.codes


def _is_context_overflow(error: ErrorBody, words: str) -> bool:
    return _has_code(error, _CONTEXT_CODES) or bool(_CONTEXT_WORDS.search(words))


def _is_about_image(status: int, error: ErrorBody, words: str) -> bool:
    named = any(_IMAGE_CODES.search(code) for code in error.codes)
    return named or status in _IMAGE_STATUSES or bool(_MODERATION_WORDS.search(words))


def _find_wait(error: ErrorBody, words: str, headers: Mapping[str, str], *, limited: bool) -> float | None:
    if limited and error.retry_delay and (seconds := parse_time(error.retry_delay, 0.0)) is not None:
        return parse_wait({"retry-after": str(max(seconds, 0.0))})
    return parse_wait(dict(error.headers) | dict(headers), limited=limited, words=words)


def _format_public(status: int, error: ErrorBody) -> str:
    """What may be shown of an error: of a 4xx, which comes before an answer, the API's sentence; else its code.

    Where such a sentence goes on to quote the request, in which an earlier answer may stand, it is cut.
    """
    words = clean_line(re.split(r'[\[{<"]', error.message or "")[0]) if 400 <= status < 500 else ""
    return words or ", ".join(filter(None, [httpx.codes.get_reason_phrase(status), error.code]))
