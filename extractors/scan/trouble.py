"""What a bucket's server said, in one line for a person: what is wrong, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
    """The words of one cloud: its settings for a key and for reading without one, and what listing needs."""

    keys: str
    public: str
    listing: str
    names: str


_CLOUDS = {
    "s3": _Cloud(
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        "AWS_SKIP_SIGNATURE=true",
        "s3:ListBucket",
        "AWS_ENDPOINT_URL and AWS_REGION",
    ),
    "gs": _Cloud("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SKIP_SIGNATURE=true", "storage.objects.list", "the project"),
    "az": _Cloud(
        "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_SKIP_SIGNATURE=true",
        "Storage Blob Data Reader",
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


def refusal(error: Exception, scheme: str) -> str:
    """Why a source of this kind cannot be listed, to be read after its name; the first line that fits."""
    text, cloud = str(error), _CLOUDS[scheme]
    code = match[1] if (match := _CODE.search(text)) else ""
    lines = (
        (_ROLE.search(text), f"needs credentials: set {cloud.keys}; {cloud.public} reads a public bucket"),
        (code in _WRONG_KEY, f"cannot be read with this key ({code}): check {cloud.keys}"),
        (code in _NO_BUCKET, f"does not exist: no such bucket ({code}): check its name, {cloud.names}"),
        (code in _ELSEWHERE or "redirect" in text.lower(), "is in another region: set AWS_REGION to the bucket's"),
        (re.search(r"\b40[13]\b", text), f"may not be listed ({code or 'forbidden'}): the key needs {cloud.listing}"),
        ("builder error" in text, "cannot be reached: an endpoint at http:// needs AWS_ALLOW_HTTP=true"),
        ("Account must be specified" in text, f"names no account: set {cloud.keys}"),
        ("invalid path" in text, f"cannot be listed: {cause(error)}: rename that key, or name a prefix beside it"),
    )
    return next((words for holds, words in lines if holds), f"cannot be listed: {cause(error)}")
