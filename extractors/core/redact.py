"""Remove secrets from URLs: user info, fragment and signature parameters; the rest names the image."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, unquote_plus, urlsplit

# Names are compared in lower case, decoded, with `-` for `_`. These are secrets in every query.
_SECRETS = frozenset(
    {
        *("awsaccesskeyid", "googleaccessid", "ossaccesskeyid", "key-pair-id", "signature", "sig", "hash-sig", "hmac"),
        *("token", "--token--", "jwt", "auth", "authorization", "auth-key", "authkey", "tempauth", "api-key", "apikey"),
        *("access-key", "accesskey", "subscription-key", "password", "passwd", "pwd", "secret", "hdnts", "hdnea"),
        *("hdntl", "sign", "rlkey", "q-ak", "q-key-time", "q-header-list", "q-url-param-list"),
    }
)
_SECRET_STARTS = ("x-amz-", "x-goog-", "x-oss-", "x-cos-", "x-bce-", "x-tos-", "q-sign", "oauth-")
_SECRET_ENDS = ("token", "signature", "secret", "password", "-api-key", "-apikey")
_NO_SECRETS = frozenset({"x-oss-process", "x-bce-process", "x-tos-process"})  # which rendition of the image it is
# Ordinary names, part of a signature only beside another parameter of it.
_BESIDE_SECRETS = frozenset({"expires", "expire", "expiry", "exp", "policy", "accesskeyid", "token-path"})
_BESIDE_SIG = frozenset(
    {
        *("sv", "ss", "srt", "sr", "sp", "st", "se", "spr", "sip", "skoid", "sktid"),
        *("skt", "ske", "sks", "skv", "saoid", "suoid", "scid", "sdd", "ses", "rscc", "rscd", "rsce", "rscl", "rsct"),
    }
)
_DIGEST = re.compile(r"[0-9a-f]{32,64}", re.IGNORECASE)
_FILE = re.compile(r"\d+|.*[./].*", re.DOTALL)

_PARTS = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.IGNORECASE | re.DOTALL)
_SEPARATOR = re.compile(r"(&amp;|&|;|\\u0026)")  # the last as escaped in JSON
# A scheme's length is bound, or a long text without a URL would be read once for every letter in it.
_IN_TEXT = re.compile(r"""[a-z][a-z0-9+.-]{0,30}(?:(://)|%3A%2F%2F)[^\s"<>]*""", re.IGNORECASE)
_MARK = re.compile(r"://|%3A%2F%2F", re.IGNORECASE)
_INSIDE = re.compile(r"[a-z][a-z0-9+.-]{0,30}://.*", re.IGNORECASE | re.DOTALL)
_BLANKS = " \0"
_MAX_DEPTH = 3  # a URL in a URL in a URL


def redact_url(url: str) -> str:
    """Return the URL as tables, logs and names hold it; text that is not a URL is unchanged.

    Other parameters stay unchanged and in order: `?id=42` names an image. Removed:

    | parameter | removed |
    |---|---|
    | `X-Amz-*`, `X-Goog-*`, `x-oss-*`, `x-cos-*`, `x-bce-*`, `x-tos-*`, `q-sign*`, `q-ak` and its like, `oauth_*` | always, but for `x-…-process` |
    | `AWSAccessKeyId GoogleAccessId OSSAccessKeyId Key-Pair-Id Signature sig sign hash_sig hmac` | always |
    | `token __token__ jwt auth authorization auth_key authkey tempauth api_key apikey access_key accesskey` | always |
    | `subscription-key password passwd pwd secret hdnts hdnea hdntl rlkey` | always |
    | what ends in `token`, `signature`, `secret`, `password`, `-api-key` (`security-token`, `download_token`) | always |
    | `key` | unless its value is a path, a file's name or a number, as where an image is asked for by key |
    | `s` | where its value is 32 to 64 hexadecimal digits, a digest |
    | `md5` | beside `Expires` |
    | `Expires expire expiry exp Policy AccessKeyId token_path` | beside one of the above |
    | `sv ss srt sr sp st se spr sip skoid …` (Azure's SAS) | beside `sig` |

    Names are compared decoded and in lower case, with `-` equal to `_`. A URL inside a parameter is redacted too.
    """
    return _redact_url(url, _MAX_DEPTH)


def is_signed(url: str) -> bool:
    """Return whether the query holds signature parameters."""
    parts = _PARTS.fullmatch(_remove_control(url))
    return bool(parts and parts[4] and _redact_query(parts[4], _MAX_DEPTH) != parts[4])


def shorten_source(source: str) -> str:
    """The last part of a source, to read: of a URL without its query, which may hold a signature."""
    if "://" in source:
        parts = urlsplit(source)
        return PurePosixPath(parts.path).name or parts.hostname or source.partition("?")[0]
    return Path(source).expanduser().absolute().name or "/"


def redact_text(text: str) -> str:
    """Redact every URL in a text, also one that is percent-encoded as a whole.

    A URL ends at white space, a double quote, `<` or `>`; redact the values of a JSON object before encoding it.
    """
    if not _MARK.search(text):
        return text
    return _IN_TEXT.sub(
        lambda match: redact_url(match[0]) if match[1] else quote(redact_url(unquote(match[0])), safe=""), text
    )


def split_url(url: str) -> tuple[str, str, str, str, str] | None:
    """Split a URL into scheme, user info, host with port, path, and query with its `?`.

    Redaction and requests both use it. None for text that is not a URL; no fragment; scheme and host in lower case.
    """
    parts = _PARTS.fullmatch(_remove_control(url))
    if not parts:
        return None
    user, _, host = parts[2].rpartition("@")
    query = "" if parts[4] is None else f"?{parts[4]}"
    return parts[1].lower(), user, host.lower(), parts[3], query


def _remove_control(url: str) -> str:
    """Remove line breaks, tabs, outer blanks and surrogates, which no URL holds."""
    return re.sub("[\ud800-\udfff]", "\ufffd", re.sub(r"[\t\r\n]", "", url)).strip(_BLANKS)


def _redact_url(url: str, depth: int) -> str:
    parts = split_url(url)
    if parts is None:
        return url
    scheme, _, host, path, query = parts
    kept = _redact_query(query[1:], depth)
    inside = _decode_fully(path)
    if "://" in inside and (cleaned := _redact_decoded(inside, depth)) != inside:
        path = quote(cleaned, safe="/:")
    return f"{scheme}://{host}{path}{'?' if kept else ''}{kept}".rstrip(_BLANKS)  # blanks may have stood before a `#`


def _redact_query(query: str, depth: int) -> str:
    """Return the query without signature parameters; separators stay."""
    pieces = _SEPARATOR.split(query)
    pairs = [(piece, *_decode_pair(piece)) for piece in pieces[::2]]
    secret = _mark_secrets([(name, value) for _, name, value in pairs])
    kept = ""
    for index, ((piece, _, value), removed) in enumerate(zip(pairs, secret, strict=True)):
        if not removed:
            kept += (pieces[2 * index - 1] if kept else "") + _redact_value(piece, value, depth)
    return kept


def _decode_pair(piece: str) -> tuple[str, str]:
    name, _, value = piece.partition("=")
    return _decode_fully(name).strip().lower().replace("_", "-"), _decode_fully(value)


def _decode_fully(text: str) -> str:
    """Decode until nothing changes, so that double encoding hides no name."""
    while (decoded := unquote_plus(text)) != text:
        text = decoded
    return text


def _mark_secrets(pairs: list[tuple[str, str]]) -> list[bool]:
    """Return for each parameter whether it is part of a signature."""
    names = {name for name, _ in pairs}
    md5 = "md5" in names and "expires" in names
    secret = [_is_secret(name, value) or (md5 and name == "md5") for name, value in pairs]
    beside = (_BESIDE_SECRETS if any(secret) else frozenset()) | (_BESIDE_SIG if "sig" in names else frozenset())
    return [goes or name in beside for goes, (name, _) in zip(secret, pairs, strict=True)]


def _is_secret(name: str, value: str) -> bool:
    if name in _NO_SECRETS:
        return False
    if name == "key":
        return not _FILE.fullmatch(value)
    if name == "s":
        return bool(_DIGEST.fullmatch(value))
    return name in _SECRETS or name.startswith(_SECRET_STARTS) or name.endswith(_SECRET_ENDS)


def _redact_value(piece: str, value: str, depth: int) -> str:
    """Return the parameter, its value redacted where it holds a URL or a query."""
    if not any(mark in value for mark in ("://", "?", "&")):
        return piece
    cleaned = _redact_decoded(value, depth)
    return piece if cleaned == value else f"{piece.partition('=')[0]}={quote(cleaned, safe='')}"


def _redact_decoded(text: str, depth: int) -> str:
    """Redact the URL in decoded text, or else the query at its end; empty where they are nested too deeply."""
    if depth == 0:
        return ""
    if "://" not in text:
        place, mark, query = text.rpartition("?")
        return place + mark + _redact_query(query, depth - 1)
    cleaned = _INSIDE.sub(lambda match: _redact_url(match[0], depth - 1), text)
    return text if cleaned.lower() == text.lower() else cleaned
