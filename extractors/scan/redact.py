"""What of a URL may be written down: its bare form, without user info, fragment and signature, which names the image."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, unquote_plus

# Names are compared in lower case, decoded, with `-` for `_`. First those that sign or open something wherever they stand.
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
# Ordinary names, which belong to the signature only where one stands beside them.
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
_SEPARATOR = re.compile(r"(&amp;|&|;|\\u0026)")  # the last as JSON may write it
# A scheme's length is bound, or a long text without a URL would be read once for every letter in it.
_IN_TEXT = re.compile(r"""[a-z][a-z0-9+.-]{0,30}(?:(://)|%3A%2F%2F)[^\s"<>]*""", re.IGNORECASE)
_MARK = re.compile(r"://|%3A%2F%2F", re.IGNORECASE)
_INSIDE = re.compile(r"[a-z][a-z0-9+.-]{0,30}://.*", re.IGNORECASE | re.DOTALL)
_DEEPEST = 3  # a URL in a URL in a URL


def bare(url: str) -> str:
    """The URL as tables, logs and identities hold it; what is no URL comes back as it is.

    The query's other parameters stay, in order and letter by letter: `?id=42` names an image. What goes:

    | parameter | goes |
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

    Names count decoded and in any case, with `-` and `_` as one. A URL inside a parameter is made bare too.
    """
    return _bare(url, _DEEPEST)


def is_signed(url: str) -> bool:
    """Whether parameters of its query sign the URL, so that it ends or opens what is not public."""
    parts = _PARTS.fullmatch(_plain(url))
    return bool(parts and parts[4] and _query(parts[4], _DEEPEST) != parts[4])


def words(text: str) -> str:
    """The text with every URL in it made bare, also one that is percent-encoded as a whole.

    A URL ends at white space, a double quote, `<` or `>`; make the values of a JSON object bare before it is written.
    """
    if not _MARK.search(text):
        return text
    return _IN_TEXT.sub(lambda match: bare(match[0]) if match[1] else quote(bare(unquote(match[0])), safe=""), text)


def split(url: str) -> tuple[str, str, str, str, str] | None:
    """Scheme, user info, host with port, path, query with its `?`: the one reading of a URL, here and on the wire.

    None for what is no URL. The fragment is left out; scheme and host are in lower case.
    """
    parts = _PARTS.fullmatch(_plain(url))
    if not parts:
        return None
    user, _, place = parts[2].rpartition("@")
    query = "" if parts[4] is None else f"?{parts[4]}"
    return parts[1].lower(), user, place.lower(), parts[3], query


def _plain(url: str) -> str:
    """Without what no URL holds: line breaks and tabs, blanks around it, halves of characters."""
    return re.sub("[\ud800-\udfff]", "\ufffd", re.sub(r"[\t\r\n]", "", url)).strip(" \0")


def _bare(url: str, depth: int) -> str:
    parts = split(url)
    if parts is None:
        return url
    scheme, _, place, path, query = parts
    kept = _query(query[1:], depth)
    inside = _whole(path)
    if "://" in inside and (cleaned := _cleaned(inside, depth)) != inside:
        path = quote(cleaned, safe="/:")
    return f"{scheme}://{place}{path}{'?' if kept else ''}{kept}"


def _query(query: str, depth: int) -> str:
    """The query without its signature, separators as they were."""
    pieces = _SEPARATOR.split(query)
    pairs = [(piece, *_decoded(piece)) for piece in pieces[::2]]
    gone = _gone([(name, value) for _, name, value in pairs])
    kept = ""
    for index, ((piece, _, value), goes) in enumerate(zip(pairs, gone, strict=True)):
        if not goes:
            kept += (pieces[2 * index - 1] if kept else "") + _inner(piece, value, depth)
    return kept


def _decoded(piece: str) -> tuple[str, str]:
    name, _, value = piece.partition("=")
    return _whole(name).strip().lower().replace("_", "-"), _whole(value)


def _whole(text: str) -> str:
    """Decoded until nothing is left to decode: a name that is encoded twice is not hidden."""
    while (decoded := unquote_plus(text)) != text:
        text = decoded
    return text


def _gone(pairs: list[tuple[str, str]]) -> list[bool]:
    """For each parameter whether it is part of a signature."""
    names = {name for name, _ in pairs}
    md5 = "md5" in names and "expires" in names
    secret = [_secret(name, value) or (md5 and name == "md5") for name, value in pairs]
    beside = (_BESIDE_SECRETS if any(secret) else frozenset()) | (_BESIDE_SIG if "sig" in names else frozenset())
    return [goes or name in beside for goes, (name, _) in zip(secret, pairs, strict=True)]


def _secret(name: str, value: str) -> bool:
    if name in _NO_SECRETS:
        return False
    if name == "key":
        return not _FILE.fullmatch(value)
    if name == "s":
        return bool(_DIGEST.fullmatch(value))
    return name in _SECRETS or name.startswith(_SECRET_STARTS) or name.endswith(_SECRET_ENDS)


def _inner(piece: str, value: str, depth: int) -> str:
    """The parameter as it is, or with its value made bare where that holds a URL, or a query of its own."""
    if not any(mark in value for mark in ("://", "?", "&")):
        return piece
    cleaned = _cleaned(value, depth)
    return piece if cleaned == value else f"{piece.partition('=')[0]}={quote(cleaned, safe='')}"


def _cleaned(text: str, depth: int) -> str:
    """Decoded text with the URL in it, or else the query at its end, made bare; nothing where they lie too deep."""
    if depth == 0:
        return ""
    if "://" not in text:
        place, mark, query = text.rpartition("?")
        return place + mark + _query(query, depth - 1)
    cleaned = _INSIDE.sub(lambda match: _bare(match[0], depth - 1), text)
    return text if cleaned.lower() == text.lower() else cleaned
