"""Translate the errors of object stores into one line: what failed, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Operation = Literal["listed", "read", "written"]

_CODE = re.compile(r"<Code>(\w+)</Code>")
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "InvalidBucketName", "UserProjectAccountProblem"}
_WRONG_KEY = {
    "AuthenticationFailed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidToken",
    "SignatureDoesNotMatch",
}
_WRONG_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
# Addresses of instance roles: obstore asks there when no other credentials are set.
_ROLE = re.compile(r"/latest/(api/token|meta-data)|computeMetadata|/metadata/identity|169\.254\.|token request")


@dataclass(frozen=True, slots=True)
class _Cloud:
    """The terms of one cloud: its settings for keys and for public buckets, and the permission for each operation."""

    keys: str
    public: str
    needs: Mapping[Operation, str]
    names: str


_CLOUDS = {
    "s3": _Cloud(
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        "AWS_SKIP_SIGNATURE=true",
        {"listed": "s3:ListBucket", "read": "s3:GetObject", "written": "s3:PutObject and s3:DeleteObject"},
        "AWS_ENDPOINT_URL and AWS_REGION",
    ),
    "gs": _Cloud(
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SKIP_SIGNATURE=true",
        {
            "listed": "storage.objects.list",
            "read": "storage.objects.get",
            "written": "storage.objects.create and storage.objects.delete",
        },
        "the project",
    ),
    "az": _Cloud(
        "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_SKIP_SIGNATURE=true",
        {
            "listed": "Storage Blob Data Reader",
            "read": "Storage Blob Data Reader",
            "written": "Storage Blob Data Contributor",
        },
        "AZURE_STORAGE_ACCOUNT_NAME",
    ),
}


def describe_error(error: Exception) -> str:
    """Return the server's code and message, or the error's text, without URL queries."""
    text = str(error).partition("\n\nDebug source")[0]
    code, message = _CODE.search(text), re.search(r"<Message>([^<]+)</Message>", text)
    words = re.sub(r"\?\S*", "", text)  # a query may hold a signature
    if code:
        words = f"{code[1]}: {message[1]}" if message else code[1]
    return " ".join(words.split())[:200] or type(error).__name__


def explain_error(error: Exception, scheme: str, act: Operation = "listed") -> str:
    """Explain the error in a sentence that follows the bucket's name; the first line that fits wins."""
    text, cloud = str(error), _CLOUDS[scheme]
    code = match[1] if (match := _CODE.search(text)) else ""
    public = "" if act == "written" else f"; {cloud.public} reads a public bucket"
    used = "written" if act == "written" else "read"
    lines = (
        (_ROLE.search(text), f"needs credentials: set {cloud.keys}{public}"),
        (code in _WRONG_KEY, f"cannot be {used} with this key ({code}): check {cloud.keys}"),
        (code in _NO_BUCKET, f"does not exist: no such bucket ({code}): check its name, {cloud.names}"),
        (code in _WRONG_REGION or "redirect" in text.lower(), "is in another region: set AWS_REGION to the bucket's"),
        (re.search(r"\b40[13]\b", text), f"may not be {act} ({code or 'forbidden'}): the key needs {cloud.needs[act]}"),
        ("builder error" in text, "cannot be reached: an endpoint at http:// needs AWS_ALLOW_HTTP=true"),
        ("Account must be specified" in text, f"names no account: set {cloud.keys}"),
        (
            "invalid path" in text,
            f"cannot be {act}: {describe_error(error)}: rename that key, or name a prefix beside it",
        ),
    )
    return next((words for holds, words in lines if holds), f"cannot be {act}: {describe_error(error)}")
