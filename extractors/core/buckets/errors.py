"""What a bucket's server said, in one line for a person: what is wrong, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Act = Literal["listed", "read", "written"]

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
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
# Where the clouds hand out an instance's role: whoever has no credentials of his own ends there.
_ROLE = re.compile(r"/latest/(api/token|meta-data)|computeMetadata|/metadata/identity|169\.254\.|token request")


@dataclass(frozen=True, slots=True)
class _Cloud:
    """The words of one cloud: its settings for a key and for reading without one, and what a key needs to do what."""

    keys: str
    public: str
    needs: Mapping[Act, str]
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


def cause(error: Exception) -> str:
    """The error in a few words: the server's code and message if it gave one, without any URL's query."""
    text = str(error).partition("\n\nDebug source")[0]
    code, message = _CODE.search(text), re.search(r"<Message>([^<]+)</Message>", text)
    said = re.sub(r"\?\S*", "", text)  # a query may hold a signature
    if code:
        said = f"{code[1]}: {message[1]}" if message else code[1]
    return " ".join(said.split())[:200] or type(error).__name__


def refusal(error: Exception, scheme: str, act: Act = "listed") -> str:
    """Why this cannot be done in a bucket of this kind, to be read after the bucket's name; the first line that fits."""
    text, cloud = str(error), _CLOUDS[scheme]
    code = match[1] if (match := _CODE.search(text)) else ""
    public = "" if act == "written" else f"; {cloud.public} reads a public bucket"
    used = "written" if act == "written" else "read"
    lines = (
        (_ROLE.search(text), f"needs credentials: set {cloud.keys}{public}"),
        (code in _WRONG_KEY, f"cannot be {used} with this key ({code}): check {cloud.keys}"),
        (code in _NO_BUCKET, f"does not exist: no such bucket ({code}): check its name, {cloud.names}"),
        (code in _ELSEWHERE or "redirect" in text.lower(), "is in another region: set AWS_REGION to the bucket's"),
        (re.search(r"\b40[13]\b", text), f"may not be {act} ({code or 'forbidden'}): the key needs {cloud.needs[act]}"),
        ("builder error" in text, "cannot be reached: an endpoint at http:// needs AWS_ALLOW_HTTP=true"),
        ("Account must be specified" in text, f"names no account: set {cloud.keys}"),
        ("invalid path" in text, f"cannot be {act}: {cause(error)}: rename that key, or name a prefix beside it"),
    )
    return next((words for holds, words in lines if holds), f"cannot be {act}: {cause(error)}")
