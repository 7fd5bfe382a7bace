"""core/buckets/aws.py: what a profile adds to the environment."""

import pytest

from extractors.core.buckets.aws import read_profile
from extractors.core.errors import ConfigurationError

KEYS = {"access_key_id": "AKIA1", "secret_access_key": "s%1"}


@pytest.fixture
def environ(tmp_path):
    """An environment with a home directory that has two profiles with keys and one that uses single sign-on."""
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


def test_read_profile_without_files_is_empty(tmp_path):
    """The role of an instance needs no profile."""
    assert read_profile({"HOME": str(tmp_path)}) == {}


def test_default_profile_needs_no_name(environ):
    """Its keys and region are used unchanged, including a percent sign."""
    assert read_profile(environ) == KEYS | {"region": "eu-west-1"}


def test_named_profile_has_session_token_and_endpoint(environ):
    assert read_profile(environ | {"AWS_PROFILE": "other"}) == {
        "access_key_id": "AKIA2",
        "secret_access_key": "s2",
        "session_token": "t2",
        "region": "eu-north-1",
        "endpoint": "http://here:9000",
    }


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE", "AWS_WEB_IDENTITY_TOKEN_FILE"])
def test_environment_wins_over_the_profile(environ, name):
    """Keys of the environment are never combined with those of a profile."""
    assert read_profile(environ | {name: "x", "AWS_REGION": "us-east-1"}) == {}


def test_named_profile_wins_over_a_role(environ):
    role = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/role", "AWS_PROFILE": "other"}
    assert read_profile(environ | role)["access_key_id"] == "AKIA2"


def test_endpoint_of_the_environment_wins_over_the_profiles(environ):
    assert "endpoint" not in read_profile(environ | {"AWS_PROFILE": "other", "AWS_ENDPOINT_URL": "http://there"})


def test_profile_files_are_found_by_their_variables(environ, tmp_path):
    (tmp_path / "keys").write_text("[default]\naws_access_key_id = AKIA3\naws_secret_access_key = s3\n")
    variables = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "keys"), "AWS_CONFIG_FILE": str(tmp_path / "none")}
    assert read_profile(environ | variables) == {"access_key_id": "AKIA3", "secret_access_key": "s3"}


def test_missing_profile_is_refused(environ):
    """The error names it."""
    with pytest.raises(ConfigurationError, match="AWS_PROFILE=nobody: no profile of this name"):
        read_profile(environ | {"AWS_PROFILE": "nobody"})


def test_profile_with_single_sign_on_is_refused(environ):
    """The error names the command that exports its keys."""
    with pytest.raises(ConfigurationError, match=r"=sso: it holds no keys.*export-credentials --profile sso"):
        read_profile(environ | {"AWS_PROFILE": "sso"})


def test_malformed_credentials_file_is_refused_without_showing_its_text(environ, tmp_path):
    """The text may contain a secret."""
    (tmp_path / ".aws" / "credentials").write_text("hidden\n")
    with pytest.raises(ConfigurationError, match=r"credentials cannot be read: MissingSectionHeaderError") as raised:
        read_profile(environ)
    assert "hidden" not in raised.value.message
