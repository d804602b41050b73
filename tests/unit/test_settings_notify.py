"""The tables of [notify]."""

import pytest

from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.notice import NoticeKind
from triage_agent.settings import build_settings

MAIL = {
    "name": "mail",
    "on": ["stat", "route_failing"],
    "host": "mail.hospital.example",
    "from": "triage@hospital.example",
    "to": ["admin@hospital.example"],
}
HOOK = {"name": "chat", "on": ["needs_human"], "url": "https://chat.example/hooks/s3cret?x=1"}


def notify(**values):
    return build_settings({"notify": values}, "test.toml").notify


def mail(**changes):
    return notify(time_zone="Europe/Vienna", email=[{**MAIL, **changes}])


def hook(**changes):
    return notify(webhook=[{**HOOK, **changes}])


def test_nobody_is_told_of_anything_by_itself():
    assert build_settings({}, "test.toml").notify.channels == ()


def test_a_channel_says_who_is_told_of_what_and_when():
    settings = mail(quiet_hours="22:00-07:30", except_in_quiet_hours=["stat"], after_minutes=5, most_per_hour=3)
    (channel,) = settings.channels
    rules = channel.rules(settings.zone)
    assert rules.kinds == {NoticeKind.STAT, NoticeKind.ROUTE_FAILING}
    assert rules.excepted == {NoticeKind.STAT}
    assert (rules.quiet.ends.minute, rules.quiet.zone.key) == (30, "Europe/Vienna")
    assert (rules.after.total_seconds(), rules.most_per_hour) == (300, 3)


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("tls", 465), ("none", 25)])
def test_the_usual_port_is_taken_where_none_is_given(security, port):
    assert mail(security=security).email[0].port_number == port
    assert mail(security=security, port=2525).email[0].port_number == 2525


def test_a_password_and_a_url_can_be_in_files(tmp_path):
    for name, content in (("password", "s3cret\n"), ("url", HOOK["url"])):
        (tmp_path / name).write_text(content)
    assert mail(user="triage", password_file=str(tmp_path / "password")).email[0].password == "s3cret"  # noqa: S105
    given = {name: value for name, value in HOOK.items() if name != "url"}
    place = notify(webhook=[{**given, "url_file": str(tmp_path / "url")}]).webhook[0].place()
    assert place == ("chat.example", 443, "/hooks/s3cret?x=1", True)


def test_on_this_machine_a_webhook_may_go_without_tls():
    assert hook(url="http://127.0.0.1:9000").webhook[0].place() == ("127.0.0.1", 9000, "/", False)


@pytest.mark.parametrize(
    ("made", "changes", "says"),
    [
        (mail, {"on": []}, "notify.email.0.on: must have at least 1"),
        (mail, {"on": ["statt"]}, "did you mean 'stat'?"),
        (mail, {"form": "x"}, "unknown key 'notify.email.0.form'; did you mean 'from'?"),
        (mail, {"from": "Triage <x@y.example>"}, "plain e-mail addresses"),
        (mail, {"to": ["x@y.example\nBcc: z@y.example"]}, "plain e-mail addresses"),
        (mail, {"to": ["nobody"]}, "plain e-mail addresses"),
        (mail, {"name": "a b"}, "notify.email.0.name"),
        (mail, {"quiet_hours": "22-7"}, "22:00-07:00"),
        (mail, {"quiet_hours": "07:00-07:00"}, "22:00-07:00"),
        (mail, {"except_in_quiet_hours": ["stat"]}, "give both, or neither"),
        (mail, {"quiet_hours": "22:00-07:00", "except_in_quiet_hours": ["needs_human"]}, "add it to on"),
        (mail, {"link": "https://x/{patient}"}, "{study_uid}"),
        (mail, {"link": "https://x/{study_uid"}, "brace"),
        (mail, {"user": "triage"}, "both user and password"),
        (mail, {"user": "triage", "password": "s3cret", "security": "none"}, "unencrypted"),
        (mail, {"user": "triage", "password": "s3crét"}, "ASCII"),
        (mail, {"include": ["patient_name"]}, "must be one of"),
        (mail, {"timeout_seconds": 61}, "at most 60"),
        (mail, {"most_per_hour": 0}, "at least 1"),
        (mail, {"ca_file": "x"}, "ca_file: write ca"),
        (hook, {"url": "http://chat.example/s3cret"}, "https://host"),
        (hook, {"url": "https://u:s3cret@chat.example/"}, "https://host"),
        (hook, {"url": "https://chat.example/#s3cret"}, "https://host"),
        (hook, {"token": "s3cret s3cret"}, "RFC 6750"),
        (hook, {"quiet_hours": "22:00-07:00"}, "time_zone is missing"),
    ],
)
def test_what_cannot_work_is_one_line_without_any_secret(made, changes, says):
    with pytest.raises(ConfigurationError) as caught:
        made(**changes)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "s3cr" not in str(caught.value)


def test_a_time_zone_that_is_none_and_names_that_are_not_each_one_s_own_are_refused():
    for zone in ("Mars/Olympus", "../../etc/passwd", "Europe"):
        with pytest.raises(ConfigurationError, match="time zone"):
            notify(time_zone=zone)
    with pytest.raises(ConfigurationError, match="two channels"):
        notify(email=[MAIL], webhook=[{**HOOK, "name": "mail"}])
