"""core/buckets/aws.py: what a profile adds to the environment."""

import pytest

from extractors.core.buckets.aws import read_profile
from extractors.core.errors import ConfigurationError

KEYS = {"access_key_id": "AKIA1", "secret_access_key": "s%1"}


@pytest.fixture
def environ(tmp_path):
    """An environment with a home, where two profiles hold keys and one signs in elsewhere."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = s%1\n\n"
        "[other]\naws_access_key_id = AKIA2\naws_secret_access_key = s2\naws_session_token = t2\n"
    )
    (tmp_path / ".aws" / "config").write_text(
        "[default]\nregion = eu-west-1\n\n[profile other]\nregion = eu-north-1\nendpoint_url = http://here:9000\n\n"
        "[profile sso]\nsso_session = work\nregion = us-west-2\n"
    )
    return {"HOME": str(tmp_path)}


def test_without_files_there_is_nothing_to_add(tmp_path):
    """An instance's role needs no profile."""
    assert read_profile({"HOME": str(tmp_path)}) == {}


def test_the_default_profile_needs_no_name(environ):
    """Its keys and region are used as they stand, a percent sign too."""
    assert read_profile(environ) == KEYS | {"region": "eu-west-1"}


def test_a_named_profile_is_used_whole(environ):
    """Session token and endpoint belong to it."""
    assert read_profile(environ | {"AWS_PROFILE": "other"}) == {
        "access_key_id": "AKIA2",
        "secret_access_key": "s2",
        "session_token": "t2",
        "region": "eu-north-1",
        "endpoint": "http://here:9000",
    }


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE", "AWS_WEB_IDENTITY_TOKEN_FILE"])
def test_the_environment_wins_over_the_profile(environ, name):
    """Keys of the environment are never mixed with a profile's."""
    assert read_profile(environ | {name: "x", "AWS_REGION": "us-east-1"}) == {}


def test_a_profile_that_is_named_wins_over_a_role(environ):
    """Who names a profile means it."""
    role = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/role", "AWS_PROFILE": "other"}
    assert read_profile(environ | role)["access_key_id"] == "AKIA2"


def test_an_endpoint_of_the_environment_wins(environ):
    """A profile's endpoint is for those who set none."""
    assert "endpoint" not in read_profile(environ | {"AWS_PROFILE": "other", "AWS_ENDPOINT_URL": "http://there"})


def test_files_may_lie_elsewhere(environ, tmp_path):
    """Both files are looked for where the environment says."""
    (tmp_path / "keys").write_text("[default]\naws_access_key_id = AKIA3\naws_secret_access_key = s3\n")
    elsewhere = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "keys"), "AWS_CONFIG_FILE": str(tmp_path / "none")}
    assert read_profile(environ | elsewhere) == {"access_key_id": "AKIA3", "secret_access_key": "s3"}


def test_a_profile_that_is_not_there_is_refused(environ):
    """The refusal names it."""
    with pytest.raises(ConfigurationError, match="AWS_PROFILE=nobody: no profile of this name"):
        read_profile(environ | {"AWS_PROFILE": "nobody"})


def test_a_profile_that_signs_in_elsewhere_is_told_how(environ):
    """A browser's sign-in is not ours to make; its keys can be exported."""
    with pytest.raises(ConfigurationError, match=r"=sso: it holds no keys.*export-credentials --profile sso"):
        read_profile(environ | {"AWS_PROFILE": "sso"})


def test_a_file_that_cannot_be_parsed_is_refused_without_its_words(environ, tmp_path):
    """What stands in it may be a secret."""
    (tmp_path / ".aws" / "credentials").write_text("hidden\n")
    with pytest.raises(ConfigurationError, match=r"credentials cannot be read: MissingSectionHeaderError") as raised:
        read_profile(environ)
    assert "hidden" not in raised.value.message
