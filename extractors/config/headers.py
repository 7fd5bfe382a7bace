"""Parses TILEWISE_HEADERS: extra request headers as a JSON object. Errors name a header, never its value."""

from __future__ import annotations

import re

import orjson

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a token, as HTTP defines it
_RESERVED = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"}
)
_ALLOWED = 'must be a JSON object of header names and their values, as {"X-Team": "invoices"}'


def parse_headers(value: object) -> dict[str, str]:
    """The headers by name. Raises ValueError for what is no header, or would change how a request is framed."""
    headers: dict[str, str] = {}
    for name, content in _parse_object(value).items():
        header, text = _read_header(name, content)
        if header.lower() in {each.lower() for each in headers}:
            raise ValueError(f"names {header} twice")
        headers[header] = text
    return headers


def _parse_object(value: object) -> dict[object, object]:
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise ValueError(_ALLOWED) from None
    if not isinstance(value, dict):
        raise ValueError(_ALLOWED)  # noqa: TRY004 - pydantic makes its errors of these
    return value


def _read_header(name: object, content: object) -> tuple[str, str]:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no header name: {_ALLOWED}")
    if name.lower() in _RESERVED:
        raise ValueError(f"may not set {name}: the client sets it")
    if not isinstance(content, str):
        raise ValueError(f"the value of {name} must be text")  # noqa: TRY004 - as above
    if not content.isascii() or not all(sign.isprintable() or sign == "\t" for sign in content):
        raise ValueError(f"the value of {name} must be printable ASCII on one line")
    return name, content.strip()
