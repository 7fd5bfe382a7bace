"""The body of an error: the server's words, its code and its status, in the forms that servers and gateways use.

| form | of |
|---|---|
| `{"error": {"message", "type", "code"}}` | OpenAI, and most who are compatible |
| `{"error": "…"}`, `{"message": "…"}`, `{"detail": "…"}` | proxies, FastAPI |
| `{"object": "error", "message", "code": 400}` | vLLM, SGLang |
| `[{"error": {"code": 400, "message", "status"}}]` | Gemini |
| `{"base_resp": {"status_code", "status_msg"}}` | MiniMax |
| `{"errors": [{"code", "message"}]}` | Cloudflare, watsonx |
| `{"__type": "ThrottlingException", "message"}` | AWS |
| `{"error": {"message", "metadata": {"raw": "{…}", "headers": {…}}}}` | OpenRouter, with what its provider said |
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

import orjson

MAX_MESSAGE_CHARS = 200
ERROR_CODE = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")  # `invalid_api_key`: a sentence is no code
MAX_CODE_CHARS = 60
_WRAPPED = re.compile(r"""\{(['"])(?:error|message|detail)\1:\s*(['"])(?P<words>.*)\2\}""", re.DOTALL)
_MESSAGES = ("message", "detail", "msg", "status_msg", "error_description")
_CODES = ("code", "type", "status", "status_code", "error_type", "error_code", "__type")


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error says. `codes` are its code, type and status as far as they are names, `status` the number among them.

    `message` is None where there is no sentence; `retry_delay` is what Gemini's details ask for, `headers` are those that
    a gateway repeats in the body.
    """

    message: str | None = None
    codes: tuple[str, ...] = ()
    status: int | None = None
    retry_delay: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def code(self) -> str:
        """The name of the error, empty where it has none."""
        return next((code for code in self.codes if not code.isdigit()), "")


def parse_error(parsed: object) -> ErrorBody:
    """The error in this JSON, as far as it has one."""
    error = _find_error(parsed)
    if isinstance(error, str):
        return ErrorBody(error)
    if not isinstance(error, dict):
        return ErrorBody()
    fields = [error.get(name) for name in _CODES]
    codes = [str(each) for each in fields if isinstance(each, str | int) and not isinstance(each, bool)]
    named = tuple(each for each in codes if _is_code(each))
    statuses = [int(each) for each in named if re.fullmatch(r"[45]\d\d", each)]
    message = next((each for name in _MESSAGES if isinstance(each := error.get(name), str)), None)
    body = ErrorBody(message and _unwrap(message), named, statuses[0] if statuses else None, _find_retry_delay(error))
    metadata = error.get("metadata")
    return _add_metadata(body, metadata) if isinstance(metadata, dict) else body


def _add_metadata(body: ErrorBody, metadata: dict[str, object]) -> ErrorBody:
    """The error with what a gateway's provider said, behind the gateway's own words, and the headers that it repeats."""
    raw, headers = metadata.get("raw"), metadata.get("headers")
    raw = raw.get("data") if isinstance(raw, dict) else raw
    inner = parse_error(parse_json(raw)) if isinstance(raw, str) else ErrorBody()
    words = inner.message or (raw if isinstance(raw, str) and not raw.lstrip().startswith(("{", "[")) else None)
    listed = headers.items() if isinstance(headers, dict) else ()
    return replace(
        body,
        message=": ".join(filter(None, [body.message, words])) or None,
        codes=(*body.codes, *(code for code in inner.codes if not code.isdigit())),
        headers=tuple((name.lower(), str(value)) for name, value in listed),
    )


def _unwrap(message: str) -> str:
    """The sentence of a message that is itself written as an object, as LiteLLM's proxy does."""
    matched = _WRAPPED.fullmatch(message)
    return matched["words"] if matched else message


def _is_code(text: str) -> bool:
    """Whether this is a name; some gateways write what they do not have as `None`."""
    return len(text) <= MAX_CODE_CHARS and text.lower() not in {"none", "null"} and bool(ERROR_CODE.fullmatch(text))


def has_error(parsed: object) -> bool:
    """Whether this JSON of a reply with status 200 is, or holds, an error."""
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        return False
    if parsed.get("object") == "error" or parsed.get("type") == "error" or parsed.get("success") is False:
        return True
    nested = parsed.get("base_resp")
    if isinstance(nested, dict) and nested.get("status_code"):
        return True
    error = parsed.get("error")
    return any(error.values()) if isinstance(error, dict) else bool(error)


def _find_error(parsed: object) -> object:
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        return None
    if parsed.get("error"):
        return parsed["error"]
    listed = parsed.get("errors")
    for nested in (parsed.get("base_resp"), listed[0] if isinstance(listed, list) and listed else None):
        if isinstance(nested, dict):
            return nested
    return parsed


def _find_retry_delay(error: dict[str, object]) -> str:
    """As in `"details": [{"@type": "…RetryInfo", "retryDelay": "34s"}]`."""
    details = error.get("details")
    for each in details if isinstance(details, list) else []:
        if isinstance(each, dict) and isinstance(delay := each.get("retryDelay"), str):
            return delay
    return ""


def parse_json(body: str | bytes) -> object:
    """The JSON of a body, None where the body is not JSON.

    Some servers write a byte order mark before it, or a number without end or NaN beside the answer: NaN is null.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_leniently(body)


def _parse_leniently(body: str | bytes) -> object:
    try:
        text = body.decode("utf-8-sig") if isinstance(body, bytes) else body.removeprefix("\ufeff")
        parsed: object = json.loads(text, parse_constant=lambda _: None)
        json.dumps(parsed, ensure_ascii=False).encode()  # half of a surrogate pair fits in no table
    except (ValueError, RecursionError):
        return None
    return parsed


def remove_images(text: str) -> str:
    """The text without the base64 of an image that a server may have sent back."""
    if "base64," not in text:
        return text
    return re.sub(r"data:[\w/+.-]*;base64,[\w+/=\\]*", "[image]", text)


def extract_message(body: str) -> str:
    """The server's words on one line, without any image that it may have sent back."""
    message = parse_error(parse_json(body)).message
    return clean_line(re.sub(r"<[^>]*>", " ", body[:10_000]) if message is None else message)


def clean_line(text: str) -> str:
    """The text on one printable line, cut to a length that a table can show."""
    shown = re.sub(r"[\w+/=]{200,}", "[image]", remove_images(text[:10_000]))
    return " ".join("".join(each if each.isprintable() else " " for each in shown).split())[:MAX_MESSAGE_CHARS]
