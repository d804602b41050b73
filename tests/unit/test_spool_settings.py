"""The table of an object store: what it refuses, in one line, without a secret in it."""

import pytest

from triage_agent.domain.errors import ConfigurationError
from triage_agent.settings import build_settings


def spool(**keys):
    return build_settings({"spool": keys}, "agent.toml").spool


def test_without_a_url_the_spool_is_a_folder():
    assert not spool().url


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://images", "images", ""),
        ("s3://images/", "images", ""),
        ("s3://my.images-1/site/a", "my.images-1", "site/a"),
    ],
)
def test_a_url_names_a_bucket_and_a_prefix(url, bucket, prefix):
    made = spool(url=url)
    assert (made.bucket, made.prefix) == (bucket, prefix)


@pytest.mark.parametrize(
    "keys",
    [
        {"url": "gs://images"},
        {"url": "s3://"},
        {"url": "s3://Images"},
        {"url": "s3://images/a b"},
        {"url": "s3://images", "endpoint": "minio:9000"},
        {"url": "s3://images", "endpoint": "https://minio:9000/path"},
        {"url": "s3://images", "endpoint": "https://user:hidden@minio:9000"},
        {"url": "s3://images", "endpoint": "http://minio:9000", "ca": "/x.pem"},
        {"url": "s3://images", "access_key": "AK"},
        {"url": "s3://images", "secret_key": "hidden"},
        {"url": "s3://images", "session_token": "hidden"},
        {"url": "s3://images", "cache_mb": 1},
        {"url": "s3://images", "region": "eu north"},
        {"url": "s3://images", "region": "evil.example/"},
        {"url": "s3://images", "access_key": "hidden key", "secret_key": "x"},
        {"url": "s3://images", "access_key": "AK", "secret_key": "hidden\x07"},
        {"url": "s3://images", "access_key": "AK", "secret_key": "x", "session_token": "hidd\u00e9n hidden"},
        {"endpoint": "https://minio:9000"},
        {"access_key": "hidden", "secret_key": "hidden"},
        {"acknowledge_when_away": True},
        {"cache": "/x"},
    ],
)
def test_what_cannot_be_used_is_refused_without_its_secrets(keys):
    with pytest.raises(ConfigurationError) as refused:
        spool(**keys)
    assert "spool" in str(refused.value)
    assert "hidden" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_secrets_come_from_files(tmp_path):
    (tmp_path / "secret").write_text("hidden\n")
    made = spool(url="s3://images", access_key="AK", secret_key_file=str(tmp_path / "secret"))
    assert made.secret_key == "hid" + "den"


@pytest.mark.parametrize(
    ("endpoint", "plain"),
    [("", False), ("https://minio:9000", False), ("http://minio:9000", True), ("http://127.0.0.1:9000", False)],
)
def test_images_that_would_cross_a_network_unencrypted_are_known(endpoint, plain):
    assert spool(url="s3://images", endpoint=endpoint).is_plain is plain


def test_what_has_no_effect_without_a_url_is_named():
    with pytest.raises(ConfigurationError, match=r"url is missing, .* without effect \(region, write_ahead\)"):
        spool(region="eu-north-1", write_ahead="/x")


def test_numbers_and_empty_keys_need_no_url():
    assert spool(endpoint="", region="", access_key="", timeout_seconds=30, held_hours=1, cache_mb=64).cache_mb == 64


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"write_ahead": "/v/x", "cache": "/v/x"}, "write_ahead and spool.cache"),
        ({"write_ahead": "/v/x", "cache": "/v/x/y"}, "write_ahead and spool.cache"),
        ({"write_ahead": "/v/x/y/../y", "cache": "/v/x/"}, "write_ahead and spool.cache"),
        ({"write_ahead": "/data/cache"}, "write_ahead and spool.cache"),
        ({"cache": "/data"}, "write_ahead and spool.cache"),
        ({"write_ahead": "/data", "cache": "/v/x"}, "spool.write_ahead is data_dir"),
        ({"write_ahead": "/v/x", "cache": "/data/."}, "spool.cache is data_dir"),
        ({"write_ahead": "/v/x", "cache": "/"}, "write_ahead and spool.cache"),
        ({"write_ahead": "/", "cache": "/data/cache"}, "write_ahead and spool.cache"),
    ],
)
def test_folders_that_are_not_apart_are_refused(keys, said):
    with pytest.raises(ConfigurationError, match=said):
        build_settings({"data_dir": "/data", "spool": {"url": "s3://images", **keys}}, "agent.toml")


def test_folders_that_are_apart_may_be_in_data_dir_and_beside_it():
    for keys in ({}, {"cache": "/data/other"}, {"write_ahead": "/v/write-ahead", "cache": "/v/write-ahead-not"}):
        made = build_settings({"data_dir": "/data", "spool": {"url": "s3://images", **keys}}, "agent.toml")
        assert made.spool.url
