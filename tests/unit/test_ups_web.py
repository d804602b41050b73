"""Who is told of workitems over HTTP, and who over DIMSE."""

from datetime import UTC, datetime
from random import Random

from triage_agent.delivery.announcing import Announcer
from triage_agent.delivery.retry import RetryPolicy
from triage_agent.settings import build_settings
from triage_agent.ups_web import told_over_web
from triage_agent.web.access import ANYBODY

TLS = {"certificate": "a.pem", "key": "a.key", "ca": "ca.pem"}


def told(*tokens, peers=(), **web):
    given = [{"name": name, "token": name * 5, "may": list(may)} for name, *may in tokens]
    called = [
        {"name": title.lower(), "ae_title": title, "may": ["query"], **({"host": "h", "port": 104} if host else {})}
        | ({} if host else {"networks": ["10.0.0.0/8"]})
        for title, host in peers
    ]
    return told_over_web(build_settings({"web": {"tokens": given, **web}, "dicom": {"peers": called}}, "test"))


def test_names_of_tokens_that_may_look_are_told():
    tokens = (("READER", "ups"), ("WATCH", "query"), ("EDGES", "store"))
    assert told(*tokens, ups=True) == {"READER", "WATCH"}
    assert told(*tokens) == set()


def test_who_can_be_called_is_told_over_dimse_alone():
    tokens = (("READER", "ups"), ("WATCH", "query"))
    assert told(*tokens, peers=[("READER", True), ("WATCH", False)], ups=True) == {"WATCH"}


def test_callers_that_are_known_by_certificates_have_one_name():
    assert told(ups=True, tls=TLS) == {ANYBODY}


class Asked:
    """Workitems of which nothing is to be told; keeps who was left out."""

    def tell_changes(self, now, limit):
        return 0

    def claim_reports(self, now, until, away, limit):
        self.away = set(away)
        return []


def test_those_that_are_told_elsewhere_are_left_out():
    workitems = Asked()
    announcer = Announcer(
        workitems=workitems,
        tell=None,
        clock=lambda: datetime(2026, 3, 1, tzinfo=UTC),
        rng=Random(1),
        retry=RetryPolicy(),
        apart={"WATCH"},
    )
    assert not announcer.step()
    assert workitems.away == {"WATCH"}
