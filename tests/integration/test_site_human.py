"""Studies that need a human stand above every list, with how many there are, but not above themselves."""

import pytest
from lxml import etree
from support.site import Hospital

from triage_agent.domain.vocabulary import Event, Finding, Priority, Status
from triage_agent.web.site import studies


@pytest.fixture
def hospital(tmp_path):
    made = Hospital(tmp_path, empty=True)
    yield made
    made.engine.dispose()


def strip(browser, path="/"):
    """What stands there, a line a study; [] where nothing does."""
    lines = etree.HTML(browser.get(path).text).xpath('//div[@id="human"]//li')
    return [" ".join(" ".join(one.itertext()).split()) for one in lines]


def fail(hospital, number):
    for one in range(number):
        hospital.story.decided(
            study=f"1.2.{one}", finding=Finding.NOT_ASSESSED, probability=None, priority=Priority.ROUTINE,
            event=Event.FAILED, status_reason="the image is blank",
        )  # fmt: skip


def test_how_many_need_a_human_is_said(hospital, monkeypatch):
    browser = hospital.browser("radiologist")
    assert strip(browser) == []
    fail(hospital, 7)
    assert hospital.readers.number(Status.NEEDS_HUMAN, 1000) == 7
    assert hospital.readers.number(Status.NEEDS_HUMAN, 3) == 3
    shown = strip(browser)
    assert (len(shown), shown[-1]) == (6, "all 7")
    monkeypatch.setattr(studies, "_COUNTED", 6)
    assert strip(browser)[-1] == "all 6 or more"


def test_nothing_stands_above_the_list_that_has_them_all(hospital):
    browser = hospital.browser("radiologist")
    fail(hospital, 2)
    assert strip(browser, "/?status=needs_human&days=all") == []
    assert strip(browser, "/?status=needs_human&days=all&order=newest") == []
    assert len(strip(browser, "/?status=needs_human&days=1")) == 2  # older ones stay in view
    assert len(strip(browser, "/?status=needs_human&days=all&region=XR_KNEE")) == 2
