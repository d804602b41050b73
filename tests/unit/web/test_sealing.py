"""Secrets that are sealed: by a key of our own user alone, for one purpose, for a while."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from triage_agent.domain.errors import ConfigurationError
from triage_agent.web.site.sealing import Seal, own_key


def test_what_was_sealed_is_opened_for_its_purpose_alone():
    seal = Seal("k" * 32)
    kept = seal.close("totp ada", "SECRET\nwith lines")
    assert "SECRET" not in kept
    assert seal.open("totp ada", kept) == "SECRET\nwith lines"
    assert seal.open("totp bob", kept) is None
    assert seal.open("totp ada", kept, seconds=60) == "SECRET\nwith lines"
    assert Seal("other" * 8).open("totp ada", kept) is None


@pytest.mark.parametrize("kept", ["", "gAAAA", "\udcff", "ü" * 10, "=" * 200])
def test_what_is_none_of_ours_opens_nothing(kept):
    assert Seal("k" * 32).open("totp ada", kept) is None


def test_what_was_changed_opens_nothing():
    seal = Seal("k" * 32)
    kept = seal.close("totp ada", "SECRET")
    changed = [kept[:at] + ("A" if kept[at] != "A" else "B") + kept[at + 1 :] for at in range(0, len(kept) - 4, 7)]
    assert {seal.open("totp ada", one) for one in changed} == {None}


def test_the_key_is_made_once_for_our_own_user_whoever_comes_first(tmp_path):
    folder = tmp_path / "var"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: own_key(folder), range(8)))
    assert len(keys) == 1
    assert len(keys.pop()) >= 43  # 256 bits and more
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_that_is_lost_is_said_and_not_made_anew(tmp_path):
    (tmp_path / "web-secrets.key").write_text("\n")
    with pytest.raises(ConfigurationError, match="backup"):
        own_key(tmp_path)
