"""Certificates as files: what is wrong with them, and that changed ones are taken up."""

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from structlog.testing import capture_logs
from support.certificates import Authority

from triage_agent.dimse.tls import TlsKeeper, verify_ourselves
from triage_agent.dimse.tls_watch import CertificateWatch
from triage_agent.domain.errors import ConfigurationError

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def files(authority, tmp_path):
    """A certificate in files of its own, which a test may change."""
    made = authority.files("triage")
    copies = {name: shutil.copy(getattr(made, name), tmp_path / name) for name in ("certificate", "key", "ca")}
    return replace(made, **copies)


def keeper(files, clock=lambda: NOW):
    return TlsKeeper(files, clock)


def change(path, content):
    """Write it, at a time of its own: two changes may fall into one tick of the clock."""
    before = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(before + 10**9, before + 10**9))


class TestWhatIsWrong:
    def test_files_that_fit_are_well(self, files):
        verify_ourselves(keeper(files), NOW)
        assert keeper(files).identity.subject == "CN=triage"

    def test_an_encrypted_key_needs_its_password(self, authority):
        files = authority.files("sealed", password="secret")  # noqa: S106 - of a key that lives as long as the test
        verify_ourselves(keeper(files), NOW)
        with pytest.raises(ConfigurationError, match=r"is encrypted; give \[dicom.tls\] key_password"):
            _ = keeper(replace(files, key_password=None)).identity
        with pytest.raises(ConfigurationError, match="no private key that can be read"):
            _ = keeper(replace(files, key_password="other")).identity  # noqa: S106 - as above
        assert "secret" not in repr(files)

    @pytest.mark.parametrize("name", ["certificate", "key", "ca"])
    def test_a_file_that_is_not_there_is_named(self, files, name):
        gone = getattr(files, name)
        gone.unlink()
        with pytest.raises(ConfigurationError, match=rf"\[dicom.tls\] {name} {gone}: no such file"):
            _ = keeper(files).identity

    @pytest.mark.parametrize("name", ["certificate", "key", "ca"])
    def test_a_file_of_another_kind_is_named(self, files, name):
        getattr(files, name).write_text("not PEM")
        with pytest.raises(ConfigurationError, match=f"{name} .* holds no"):
            _ = keeper(files).identity

    def test_a_key_of_another_certificate(self, authority, files):
        with pytest.raises(ConfigurationError, match="does not fit certificate"):
            _ = keeper(replace(files, key=authority.issue("other")[1])).identity

    def test_a_certificate_that_expired(self, authority):
        with pytest.raises(ConfigurationError, match=r"old.pem expired at"):
            verify_ourselves(keeper(authority.files("old", days=-1)), NOW)

    def test_a_ca_that_expired(self, tmp_path):
        past = Authority(tmp_path / "past", days=-1)
        with pytest.raises(ConfigurationError, match="all its certificates expired"):
            verify_ourselves(keeper(past.files("triage")), NOW)

    def test_a_ca_that_did_not_sign_our_certificate(self, files, tmp_path):
        other = replace(files, ca=Authority(tmp_path / "other", "Other CA").ca)
        with pytest.raises(ConfigurationError, match=r"is not verified by ca .*: unable to get local issuer"):
            verify_ourselves(keeper(other), NOW)

    def test_a_certificate_for_servers_only_serves_and_does_not_call(self, authority):
        files = authority.files("server", purposes=[ExtendedKeyUsageOID.SERVER_AUTH])
        verify_ourselves(keeper(files), NOW)
        verify_ourselves(keeper(authority.files("either")), NOW, calling=True)
        with pytest.raises(ConfigurationError, match="purpose"):
            verify_ourselves(keeper(files), NOW, calling=True)


class TestChange:
    def test_a_changed_certificate_is_used_at_the_second_look(self, authority, files):
        kept = keeper(files)
        before, expires = kept.server(), kept.identity.expires
        certificate, key = authority.issue("triage", days=700, file="next")
        change(files.certificate, certificate.read_bytes())
        change(files.key, key.read_bytes())
        assert not kept.refresh()
        assert kept.refresh()
        assert kept.server() is not before
        assert kept.identity.expires > expires
        assert not kept.refresh()

    def test_a_file_put_in_the_place_of_another_is_noticed_by_its_inode(self, authority, files):
        kept = keeper(files)
        before = files.certificate.stat()
        certificate, key = authority.issue("triage", file="renamed")
        for new, old in ((certificate, files.certificate), (key, files.key)):
            os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
            assert kept.identity
            new.replace(old)
        assert [kept.refresh(), kept.refresh()] == [False, True]

    def test_a_broken_one_keeps_what_was_in_use_and_is_told_once(self, files):
        kept = keeper(files)
        before, whole = kept.server(), files.certificate.read_bytes()
        change(files.certificate, b"half a certif")
        assert not kept.refresh()
        with pytest.raises(ConfigurationError, match="holds no certificate"):
            kept.refresh()
        assert not kept.refresh()
        assert kept.server() is before
        assert not kept.is_current
        change(files.certificate, whole)
        assert [kept.refresh(), kept.refresh()] == [False, True]
        assert kept.is_current

    def test_between_certificate_and_key_nothing_is_told(self, authority, files):
        kept = keeper(files)
        certificate, key = authority.issue("triage", file="half")
        assert kept.identity
        change(files.certificate, certificate.read_bytes())
        assert not kept.refresh()
        change(files.key, key.read_bytes())
        assert [kept.refresh(), kept.refresh()] == [False, True]

    def test_an_admin_s_word_is_taken_at_once(self, authority, files):
        kept = keeper(files)
        before = kept.server()
        assert kept.refresh(at_once=True)
        assert kept.server() is not before


class TestChangeForTheWorse:
    """A certificate that peers would not take, in the place of one that they do."""

    def put(self, files, certificate, key):
        change(files.certificate, certificate.read_bytes())
        change(files.key, key.read_bytes())

    def is_refused(self, kept, why):
        before = kept.server()
        assert not kept.refresh()
        with pytest.raises(ConfigurationError, match=why):
            kept.refresh()
        assert not kept.refresh()
        return kept.server() is before and not kept.is_current

    def test_one_that_expired_is_not_used(self, authority, files):
        kept = keeper(files)
        assert kept.identity
        self.put(files, *authority.issue("triage", days=-1, file="expired"))
        assert self.is_refused(kept, "expired at")

    def test_one_that_is_not_valid_yet_is_not_used(self, authority, files):
        kept = keeper(files)
        assert kept.identity
        self.put(files, *authority.issue("triage", begins=3, file="early"))
        assert self.is_refused(kept, "not yet valid")

    def test_one_that_our_ca_did_not_sign_is_not_used_at_an_admin_s_word_either(self, files, tmp_path):
        kept = keeper(files)
        assert kept.identity
        self.put(files, *Authority(tmp_path / "other", "Other CA").issue("triage"))
        assert self.is_refused(kept, "is not verified by ca")
        with pytest.raises(ConfigurationError, match="is not verified by ca"):
            kept.refresh(at_once=True)
        assert not kept.is_current

    @pytest.mark.parametrize("purpose", [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    def test_one_for_one_purpose_is_not_used_where_we_call_and_are_called(self, authority, files, purpose):
        kept = TlsKeeper(files, lambda: NOW, calling=True)
        assert kept.identity
        before = kept.client()
        self.put(files, *authority.issue("triage", purposes=[purpose], file="one-purpose"))
        assert self.is_refused(kept, "certificate")
        assert kept.client() is before

    def test_one_that_at_least_serves_stays_before_one_that_does_nothing(self, authority, tmp_path):
        files = authority.files("serving", purposes=[ExtendedKeyUsageOID.SERVER_AUTH])
        kept = TlsKeeper(files, lambda: NOW, calling=True)
        assert kept.identity
        self.put(files, *authority.issue("triage", days=-1, file="neither"))
        assert self.is_refused(kept, "expired at")

    def test_one_for_servers_is_used_where_we_only_answer(self, authority, files):
        kept = keeper(files)
        assert kept.identity
        self.put(files, *authority.issue("triage", purposes=[ExtendedKeyUsageOID.SERVER_AUTH], file="serving"))
        assert [kept.refresh(), kept.refresh()] == [False, True]
        with pytest.raises(ConfigurationError, match=r"servers only.*have it made for both purposes"):
            verify_ourselves(kept, NOW, calling=True)

    def test_it_is_used_when_what_was_in_use_has_expired(self, authority, files):
        now = [NOW]
        kept = keeper(files, lambda: now[0])
        expires = kept.identity.expires
        self.put(files, *authority.issue("triage", days=-1, file="older"))
        assert self.is_refused(kept, "expired at")
        now[0] = expires + timedelta(hours=1)
        assert kept.refresh()
        assert kept.is_current
        assert kept.identity.expires < expires

    def test_a_good_one_after_it_is_used(self, authority, files):
        kept = keeper(files)
        assert kept.identity
        self.put(files, *authority.issue("triage", days=-1, file="bad"))
        assert self.is_refused(kept, "expired at")
        self.put(files, *authority.issue("triage", days=300, file="good"))
        assert [kept.refresh(), kept.refresh()] == [False, True]
        assert kept.is_current

    def test_where_none_is_verified_a_change_is_used(self, authority, files, tmp_path):
        foreign = replace(files, ca=Authority(tmp_path / "peers", "Peers' CA").ca)
        kept = keeper(foreign)
        assert kept.identity
        self.put(files, *authority.issue("triage", days=300, file="renewed"))
        assert [kept.refresh(), kept.refresh()] == [False, True]

    def test_at_the_start_it_is_a_warning(self, files, tmp_path):
        foreign = replace(files, ca=Authority(tmp_path / "peers", "Peers' CA").ca)
        watch = CertificateWatch(keeper(foreign), lambda: NOW, every=3600)
        with capture_logs() as lines:
            watch.start()
        watch.stop()
        assert ("certificate_not_verified", "warning") in [(line["event"], line["log_level"]) for line in lines]


class TestWatch:
    def watch(self, files, clock=lambda: NOW, monotonic=lambda: 0.0):
        return CertificateWatch(keeper(files, clock), clock, every=3600, monotonic=monotonic)

    def test_files_that_cannot_be_used_are_a_wrong_configuration_at_the_start(self, files):
        files.key.unlink()
        with pytest.raises(ConfigurationError):
            self.watch(files).start()

    def test_a_broken_change_is_one_line_in_the_log(self, files):
        watch = self.watch(files)
        assert watch.expiries()
        change(files.key, b"broken")
        with capture_logs() as lines:
            for _ in range(5):
                watch.look()
        assert [(line["event"], line["log_level"]) for line in lines] == [("certificate_not_loaded", "error")]
        assert "in_use_until" in lines[0]

    def test_an_expiry_is_told_once_a_day_from_thirty_days_ahead(self, files):
        now, ticks = [NOW + timedelta(days=365 - 31)], [0.0]
        watch = self.watch(files, lambda: now[0], lambda: ticks[0])
        with capture_logs() as lines:
            watch.look()
        assert lines == []
        told = []
        for hour in range(0, 40 * 24, 6):
            now[0], ticks[0] = NOW + timedelta(days=365 - 31, hours=hour), hour * 3600.0
            with capture_logs() as lines:
                watch.look()
            told += [line for line in lines if line["certificate"] == "own"]
        assert 38 <= len(told) <= 39
        assert (told[0]["event"], told[0]["days"]) == ("certificate_expires", 29)
        assert (told[-1]["event"], told[-1]["log_level"]) == ("certificate_expired", "warning")

    def test_both_expiries_can_be_asked_for(self, files):
        expiries = self.watch(files).expiries()
        assert expiries.keys() == {"own", "ca"}
        assert all(timedelta(days=364) < at - NOW < timedelta(days=366) for at in expiries.values())

    def test_the_thread_looks_and_ends(self, authority, files):
        watch = CertificateWatch(keeper(files), lambda: NOW, every=0.01)
        watch.start()
        watch.stop()
        assert not watch._thread.is_alive()
