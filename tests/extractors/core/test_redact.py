"""redact.py: which parts of a URL are removed."""

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extractors.core.redact import is_signed, redact_text, redact_url

AZURE = "sv=2022-11-02&ss=b&srt=o&sp=r&st=2026-01-01&se=2026-12-31&spr=https&sip=1.2.3.4&skoid=a&sktid=b&skt=c&ske=d&sks=b&skv=e"
SIGNATURES = [
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20261121%2Fus-east-1&X-Amz-Date=2026",
    "X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Security-Token=t&X-Amz-Signature=s",
    "AWSAccessKeyId=AKIA&Signature=s&Expires=1",
    "Policy=p&Key-Pair-Id=K&Signature=s",
    "Expires=1&Signature=s&Key-Pair-Id=K",
    "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=a&X-Goog-Signature=s",
    "GoogleAccessId=a&Expires=1&Signature=s",
    f"{AZURE}&sig=s",
    "sp=r&rscd=inline&rsct=image%2Fpng&sig=s",
    "OSSAccessKeyId=a&Expires=1&Signature=s&security-token=t",
    "x-oss-signature-version=OSS4&x-oss-credential=c&x-oss-signature=s",
    "q-sign-algorithm=sha1&q-ak=a&q-sign-time=1&q-key-time=1&q-header-list=&q-url-param-list=&q-signature=s",
    "x-cos-security-token=t",
    "x-bce-security-token=t&authorization=a",
    "AccessKeyId=a&Expires=1&Signature=s",
    "token=t&expires=1&token_path=%2F",
    "hdnts=exp=1~hmac=2",
    "__token__=exp=1~hmac=2",
    "hdnea=a&hdntl=b&hash_sig=c",
    "md5=0123&expires=1",
    "s=0123456789abcdef0123456789abcdef",
    "access_token=a&refresh_token=b&download-token=c&X-Plex-Token=d",
    "sig=a&jwt=b&auth=c&Authorization=d&hmac=e",
    "key=AIzaSyA&api_key=b&apikey=c&x-api-key=d&subscription-key=e",
    "password=a&secret=b&client_secret=c&oauth_signature=d&oauth_nonce=e&pwd=f",
]


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("change", [str, str.lower, str.upper])
def test_signature_is_removed_and_other_parameters_stay(signature, change):
    """Names match in any case; the other parameters keep their order."""
    url = f"https://host/a.jpg?id=42&{change(signature)}&w=1"
    assert redact_url(url) == "https://host/a.jpg?id=42&w=1"
    assert is_signed(url)


@pytest.mark.parametrize(
    "query",
    [
        "id=42",
        "b=2&a=1",
        "a",
        "a=&b==",
        "expires=1&policy=2",  # no signature beside them
        AZURE,  # no `sig` beside them: ordinary parameters
        "x-oss-process=image/resize,w_100",
        "key=photos/a.jpg",
        "key=a.jpg",
        "key=42",
        "s=80",
        "md5=0123",
        "design=1&signal=2&authors=3&tokens=4&passport=5",
        "q=a+b%20c&q=%C3%BC",
        "versionId=a_B-1",
        "u=https%3A%2F%2Fother%2Fb.jpg%3Fid%3D1",
    ],
)
def test_unsigned_query_is_unchanged(query):
    """It is part of the image's name."""
    assert redact_url(f"https://host/a.jpg?{query}") == f"https://host/a.jpg?{query}"
    assert not is_signed(f"https://host/a.jpg?{query}")


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("HTTPS://Host.Example/A.JPG", "https://host.example/A.JPG"),
        ("https://me:geheim@host/a.jpg", "https://host/a.jpg"),
        ("https://me:ge@heim@host:8443/a.jpg", "https://host:8443/a.jpg"),
        ("https://host/a@b.jpg", "https://host/a@b.jpg"),
        ("https://host/a.jpg#token=1", "https://host/a.jpg"),
        ("https://host/a.jpg?id=1#?sig=2", "https://host/a.jpg?id=1"),
        ("https://host?sig=1", "https://host"),
        ("https://host/a.jpg?", "https://host/a.jpg"),
        (" https://host/a\n.jpg\t", "https://host/a.jpg"),
        ("https://host/a.jpg?%58-Amz-Signature=geheim", "https://host/a.jpg"),
        ("https://host/a.jpg?%2558-Amz-Signature=geheim", "https://host/a.jpg"),
        ("https://host/a.jpg?%2573ig=geheim", "https://host/a.jpg"),
        ("https://host/a.jpg?si%67=geheim&sv=1", "https://host/a.jpg"),
        ("https://host/a.jpg?+sig=geheim", "https://host/a.jpg"),
        ("https://host/a.jpg?id=1;sig=geheim;w=2", "https://host/a.jpg?id=1;w=2"),
        ("https://host/a.jpg?id=1&amp;sig=geheim", "https://host/a.jpg?id=1"),
        (r"https://host/a.jpg?id=1\u0026sig=geheim", "https://host/a.jpg?id=1"),
        ("https://host/a.jpg?sig", "https://host/a.jpg"),
        ("https://host/?u=https://other/b.jpg?sig=geheim&w=1", "https://host/?u=https%3A%2F%2Fother%2Fb.jpg&w=1"),
        (
            "https://host/?u=https%3A%2F%2Fme%3Ageheim%40other%2Fb%3Fid%3D1",
            "https://host/?u=https%3A%2F%2Fother%2Fb%3Fid%3D1",
        ),
        ("https://host/?u=%2Fb.jpg%3Fid%3D1%26sig%3Dgeheim", "https://host/?u=%2Fb.jpg%3Fid%3D1"),
        ("https://host/?u=see+https%3A%2F%2Fb%2F%3Fsig%3Dgeheim", "https://host/?u=see%20https%3A%2F%2Fb%2F"),
        ("https://host/https%3A%2F%2Fme:geheim%40b%2Fc.jpg", "https://host/https://b/c.jpg"),
        ("https://host/p/https%3A%2F%2Fb%2Fc.jpg%3Fsig%3Dgeheim", "https://host/p/https://b/c.jpg"),
        ("s3://bucket/a.jpg?X-Amz-Signature=geheim", "s3://bucket/a.jpg"),
        ("https://[FD00::5]:80/a.jpg", "https://[fd00::5]:80/a.jpg"),
        ("https://[broken/a.jpg?sig=geheim", "https://[broken/a.jpg"),
        ("/data/what?.jpg#1", "/data/what?.jpg#1"),
        ("", ""),
    ],
)
def test_redact_url_removes_user_info_fragment_and_signatures(url, redacted):
    """Scheme and host become lower case; escaped and nested signatures are removed, too."""
    assert redact_url(url) == redacted
    assert redact_url(redacted) == redacted


def test_deeply_nested_url_is_dropped():
    """It is nested deeper than `redact_url` reads."""
    url = "https://h/?id=geheim"
    for _ in range(6):
        url = f"https://h/?u={quote(url, safe='')}&sig=1"
    assert "geheim" not in redact_url(url)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("no URL: a/b?sig=1", "no URL: a/b?sig=1"),
        ("see https://h/a?sig=geheim&id=1, or not", "see https://h/a?id=1, or not"),
        ("two https://h/a?sig=geheim https://me:geheim@h/b", "two https://h/a https://h/b"),
        ('{"u": "https://h/a?token=geheim", "v": 1}', '{"u": "https://h/a", "v": 1}'),
        ("<https://h/a?id=1&token=geheim>", "<https://h/a?id=1>"),
        ("xhttps://h/a?sig=geheim", "xhttps://h/a"),
        ("next=https%3A%2F%2Fh%2Fa%3Fsig%3Dgeheim", "next=https%3A%2F%2Fh%2Fa"),
        ("x='https://h/a?b='&sig=geheim", "x='https://h/a?b='"),
        ("", ""),
    ],
)
def test_redact_text_changes_only_the_urls(text, redacted):
    assert redact_text(text) == redacted


NAMES = st.sampled_from(
    ["X-Amz-Signature", "Signature", "sig", "token", "access_token", "api_key", "password", "__token__"]
)
TEXTS = st.text(min_size=0, max_size=12)


def encode(name, marks):
    """The name with some letters percent-encoded and some in the other case."""
    letters = [letter.swapcase() if mark & 1 else letter for letter, mark in zip(name, marks, strict=False)]
    return "".join(f"%{ord(letter):02x}" if mark & 2 else letter for letter, mark in zip(letters, marks, strict=False))


@given(
    st.lists(st.tuples(TEXTS, TEXTS), max_size=4),
    NAMES,
    st.lists(st.integers(0, 3), min_size=20, max_size=20),
    st.integers(0, 4),
    st.booleans(),
)
def test_signature_is_removed_from_any_query(others, name, marks, place, raw):
    """Its name may be written in any way, between any other parameters."""
    pairs = [f"{key}={value}" if raw else f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in others]
    pairs.insert(place, f"{encode(name, marks)}=GEHEIMNIS")
    url = f"https://host/a.jpg?{'&'.join(pairs)}"
    assert "GEHEIMNIS" not in redact_url(url)
    assert (
        "GEHEIMNIS"
        not in redact_text(f"it is {url}").split("it is ")[1].split('"')[0].split("<")[0].split(">")[0].split()[0]
    )


@given(st.text())
@example(" #")
def test_redact_url_accepts_any_text_and_is_idempotent(text):
    assert redact_url(redact_url(text)) == redact_url(text)
    assert redact_url(redact_url(f"https://{text}")) == redact_url(f"https://{text}")
    redact_text(text)


@given(st.lists(st.tuples(st.sampled_from(["id", "w", "page", "ü"]), TEXTS), max_size=5))
def test_parameters_that_name_an_image_stay(pairs):
    """Different images keep different names."""
    query = "&".join(f"{quote(name)}={quote(value, safe='')}" for name, value in pairs if not set("?&:/") & set(value))
    mark = "?" if query else ""
    assert redact_url(f"https://host/a.jpg{mark}{query}") == f"https://host/a.jpg{mark}{query}"
