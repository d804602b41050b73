"""What `check` finds on a machine before the first study does."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from triage_agent.cli import site
from triage_agent.cli.ports import Noteworthy
from triage_agent.domain.errors import ConfigurationError, TriageError
from triage_agent.settings import Settings, build_settings

LIMIT = site.resource.RLIMIT_NOFILE


def of(tmp_path, **tables):
    return Settings(data_dir=tmp_path / "var", **tables)


@pytest.fixture
def mounted(monkeypatch):
    """Says what kind of file system everything is on."""
    return lambda kind: monkeypatch.setattr(site, "_mounts", lambda: [("/", kind)])


def rule(*anatomies):
    when = {"finding": "abnormal", "anatomies": anatomies}
    return {"rules": [{"name": "wrists", "when": when, "priority": "urgent"}]}


def test_a_rule_for_a_region_that_no_image_shows_is_told_with_the_nearest(tmp_path):
    assert site.look_at_policy(of(tmp_path, policy=rule("XR_WRIST"))) == "wrists"
    with pytest.raises(TriageError, match="never fires") as told:
        site.look_at_policy(of(tmp_path, policy=rule("XR_WRIST", "xr_wirst")))
    assert told.value.remedy == "did you mean 'XR_WRIST'?"


def test_a_kind_that_nobody_makes_is_told(tmp_path, monkeypatch):
    settings = of(
        tmp_path,
        dicom={"peers": [{"name": "pacs", "ae_title": "P", "host": "h", "port": 104}]},
        routes=[{"to": "pacs", "send": ["sr"]}],
    )
    assert site.look_at_policy(settings) == "the built-in rules"
    monkeypatch.setattr("triage_agent.results.registry.REGISTRY", {})
    with pytest.raises(TriageError, match="sends sr, which this version does not make"):
        site.look_at_policy(settings)


def test_a_data_dir_in_memory_is_told(tmp_path, mounted):
    mounted("tmpfs")
    with pytest.raises(TriageError, match="in memory"):
        site.look_at_folder(of(tmp_path))


def test_sqlite_over_the_network_is_told_and_a_spool_there_is_remarked_on(tmp_path, mounted):
    mounted("nfs4")
    with pytest.raises(TriageError, match="network file system"):
        site.look_at_folder(of(tmp_path))
    said = site.look_at_folder(of(tmp_path, database={"url": "postgresql+psycopg://t@db/t"}))
    assert "no `async` export" in said


def test_the_mount_that_holds_a_folder_is_the_deepest_and_of_those_the_last(tmp_path):
    mounts = [("/", "ext4"), (str(tmp_path), "xfs"), (str(tmp_path), "nfs"), (f"{tmp_path}/other", "tmpfs")]
    assert site.file_system_of(tmp_path / "var", mounts) == "nfs"
    assert site.file_system_of(tmp_path, []) == ""
    assert any(place == "/" for place, _ in site._mounts())


def test_files_that_the_world_can_read_are_told_with_the_remedy(mounted):
    mounted("ext4")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:  # pytest's own folders are private
        folder = Path(name)
        settings = of(folder)
        spool = folder / "var" / "spool"
        spool.mkdir(parents=True)
        for each in (spool, *spool.parents[:2]):
            each.chmod(0o755)
        with pytest.raises(TriageError, match="anybody on this machine can read") as told:
            site.look_at_folder(settings)
        assert told.value.remedy == f"chmod -R o-rwx {folder}/var"
        spool.parent.chmod(0o750)
        assert site.look_at_folder(settings).endswith("private")


@pytest.mark.parametrize(("allowed", "enough"), [(1024, True), (872, True), (871, False), (-1, True)])
def test_too_few_open_files_for_associations_and_the_web_port_are_told(tmp_path, monkeypatch, allowed, enough):
    monkeypatch.setattr(
        site,
        "resource",
        SimpleNamespace(RLIMIT_NOFILE=LIMIT, RLIM_INFINITY=-1, getrlimit=lambda _which: (allowed, allowed)),
    )
    settings = of(tmp_path, dicom={"max_associations": 100})
    if enough:
        assert "872 needed" in site.look_at_limits(settings)
    else:
        with pytest.raises(TriageError, match=r"871 files open; 100 associations and 512 connections to .* need 872"):
            site.look_at_limits(settings)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({}, "originals go 30 days after their study's last image; the quarantine stays"),
        (
            {"storage": {"retention_days": 0, "quarantine_days": 9}},
            "nothing is deleted; the quarantine is emptied after 9",
        ),
        (
            {"storage": {"retention_days": 1}},
            "1 days after their study's last image, later where a destination is away",
        ),
        ({"storage": {"keep_originals": "until_delivered"}}, "as soon as their study is delivered"),
    ],
)
def test_what_is_deleted_is_said(tmp_path, tables, said):
    assert said in site.look_at_retention(of(tmp_path, **tables))


def test_waits_that_do_not_fit_are_told(tmp_path):
    delivery = {"first_retry_seconds": 10, "longest_retry_seconds": 1}
    with pytest.raises(ConfigurationError, match="first_retry_seconds 10 is above longest_retry_seconds 1"):
        build_settings({"delivery": delivery}, "site.toml")


def test_rules_that_raise_nothing_are_remarked_on(tmp_path):
    quiet = {"rules": [{"name": "all", "when": {"finding": "abnormal"}}]}
    with pytest.raises(Noteworthy, match="no rule raises anything"):
        site.look_at_policy(of(tmp_path, policy=quiet))
    quiet["rules"].append({"name": "some", "when": {"finding": "uncertain"}, "priority": "urgent"})
    assert site.look_at_policy(of(tmp_path, policy=quiet)) == "all, some"


def test_a_database_in_a_folder_that_is_not_there_is_told_but_for_data_dir(tmp_path):
    site.require_folder_of_database(of(tmp_path))
    site.require_folder_of_database(of(tmp_path, database={"url": "sqlite:///{data_dir}/db/triage.db"}))
    site.require_folder_of_database(of(tmp_path, database={"url": f"sqlite:///{tmp_path}/triage.db"}))
    with pytest.raises(TriageError, match=f"there is no folder {tmp_path}/mistyped"):
        site.require_folder_of_database(of(tmp_path, database={"url": f"sqlite:///{tmp_path}/mistyped/triage.db"}))


@pytest.mark.parametrize(("free", "said"), [(50, ""), (13, ""), (12.9, "; below 10 % C-STORE is refused")])
def test_a_disk_that_is_nearly_full_is_remarked_on(free, said):
    assert site.nearly_full(free, 10) == said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dicom": {"port": True}}, "port is not true or false"),
        ({"storage": {"low_water_percent": False}}, "low_water_percent is not true or false"),
        (
            {"database": {"url": "sqlite:///{datadir}/x.db"}},
            "{datadir} stands for nothing; only {data_dir} is filled in",
        ),
    ],
)
def test_values_that_would_do_something_else_are_refused(values, said):
    with pytest.raises(ConfigurationError) as told:
        build_settings(values, "site.toml")
    assert said in str(told.value)


def test_flags_stay_flags():
    assert build_settings({"dicom": {"accept_unknown_peers": True}}, "site.toml").dicom.accept_unknown_peers


@pytest.mark.parametrize(
    ("dicom", "web", "apart"),
    [
        ({"port": 8080}, {}, False),
        ({"port": 8080, "host": "::"}, {"host": "10.0.0.1"}, False),
        ({"port": 8080, "host": "10.0.0.1"}, {}, True),
        ({}, {}, True),
    ],
)
def test_one_port_for_two_services_is_told(tmp_path, dicom, web, apart):
    settings = of(tmp_path, dicom=dicom, web=web)
    if apart:
        site.require_ports_of_their_own(settings)
    else:
        with pytest.raises(ConfigurationError, match="have the same port 8080"):
            site.require_ports_of_their_own(settings)


def test_the_port_of_orders_is_its_own_too(tmp_path):
    settings = of(tmp_path, hl7={"listen": {"port": 11112, "networks": ["10.0.0.0/8"]}})
    with pytest.raises(ConfigurationError, match=r"\[dicom\] and \[hl7.listen\] have the same port 11112"):
        site.require_ports_of_their_own(settings)
