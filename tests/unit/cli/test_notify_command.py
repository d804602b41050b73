"""`notify`, and the lines of `check` about it."""

import json

import pytest
from support.http_peer import Said, http_peer
from support.story import Story, decision

from triage_agent.cli import notices
from triage_agent.domain.vocabulary import Priority
from triage_agent.settings import build_settings
from triage_agent.worklist import SqlWorklist, open_engine, upgrade
from triage_agent.worklist.notices import notices_of

CHANNEL = '[[notify.webhook]]\nname = "chat"\non = ["stat", "route_failing"]\nurl = "http://127.0.0.1:{port}/"\n'


@pytest.fixture
def configured(tmp_path):
    def write(port):
        config = tmp_path / "agent.toml"
        config.write_text(f'data_dir = "{tmp_path}/var"\n{CHANNEL.format(port=port)}')
        return config

    return write


def test_a_test_notice_is_sent_at_once(run, configured):
    with http_peer(Said(200)) as peer:
        done = run("notify", "test", "chat", "--config", configured(peer.port))
        assert (done.code, "chat has taken" in done.out) == (0, True)
        assert json.loads(peer.asked[0].body)["notices"][0]["event"] == "test"
        assert json.loads(run("notify", "test", "chat", "--json", "--config", configured(peer.port)).out)["taken"]


def test_one_that_is_not_taken_fails_with_the_remedy(run, configured):
    with http_peer(Said(401)) as peer:
        done = run("notify", "test", "chat", "--config", configured(peer.port))
    assert done.code == 1
    assert "answered 401; check the token" in done.err


def test_a_channel_that_is_not_there_is_wrong_usage(run, configured):
    done = run("notify", "test", "chatt", "--config", configured(1))
    assert (done.code, "did you mean 'chat'?" in done.err) == (2, True)


def test_what_waits_is_listed(run, configured, tmp_path):
    config = configured(1)
    (tmp_path / "var").mkdir()
    url = f"sqlite:///{tmp_path}/var/triage.db"
    upgrade(url)
    engine = open_engine(url)
    story = Story(SqlWorklist(engine))
    kept = notices_of(story.worklist)
    channel = build_settings(
        {"notify": {"webhook": [{"name": "chat", "on": ["stat"], "url": "https://x.example"}]}}, "t"
    )
    kept.configure([one.rules(channel.notify.zone) for one in channel.notify.channels], ["pacs"], story.now)
    story.claimed()
    story.worklist.decide(decision(at=story.tick(), priority=Priority.STAT), (), (), "w1")
    kept.look_at_route("pacs", troubled=True, now=story.now)
    engine.dispose()
    told = json.loads(run("notify", "list", "--json", "--config", config).out)
    assert [(one["channel"], one["waiting"]) for one in told["channels"]] == [("chat", 1)]
    assert [one["destination"] for one in told["failing_routes"]] == ["pacs"]
    shown = run("notify", "list", "--config", config).out
    assert "chat" in shown
    assert "nothing was taken by pacs since" in shown


def looked(**values):
    channel = {"name": "chat", "on": ["stat"], **values}
    settings = build_settings({"notify": {"webhook": [channel]}}, "test")
    ((part, look),) = notices.looks(settings)
    return part, look


def test_check_has_a_line_for_each_channel():
    with http_peer(Said(405)) as peer:
        part, look = looked(url=f"http://127.0.0.1:{peer.port}/")
        assert part == "notices to chat"
        assert "answers (405" in look()
        assert "told of stat" in look()


def test_check_warns_of_a_channel_that_waits_for_routes_that_are_not_there():
    with http_peer(Said(200)) as peer:
        _, look = looked(url=f"http://127.0.0.1:{peer.port}/", on=["route_failing"])
        with pytest.raises(notices.Noteworthy, match="there are no"):
            look()
