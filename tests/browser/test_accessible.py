"""No page has what axe-core calls a violation (WCAG A and AA, best practices), nor is any wider than its window."""

import pyotp
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from support import story
from support.auditing import seal_all
from support.instances import dx
from support.site import PASSWORD

from triage_agent.domain.accounts import Role
from triage_agent.domain.vocabulary import Event, Finding, Priority
from triage_agent.results.context import ResultContext
from triage_agent.results.structured_report import build_structured_report
from triage_agent.web.site.people import make_link

AXE = Axe()
LOOKS = [
    ("light", {"width": 1280, "height": 800}),
    ("dark", {"width": 1920, "height": 1080}),
    ("light", {"width": 390, "height": 844}),
    ("dark", {"width": 390, "height": 844}),
]
STUDY = f"/studies/{story.STUDY}"
PAGES = [
    "/",
    "/?q=nobody",
    STUDY,
    "/dashboard",
    "/audit",
    "/audit?patient=P1",
    "/audit/chain",
    f"{STUDY}/story",
    "/second",
    "/account",
    "/accounts",
    "/accounts/radiologist",
    "/password",
    "/nothing",
]


def violations(page):
    found = AXE.run(page).response["violations"]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found]


def busy(hospital):
    """A list with something of everything: raised, claimed, one that needs a human, a report that failed."""
    told = hospital.story
    header = dx(StudyInstanceUID=story.STUDY, SOPInstanceUID=f"{story.STUDY}.1")
    scored = story.scored(f"{story.STUDY}.1", 0.9)
    report = build_structured_report(ResultContext(result=story.decision(), headers=(header,), assessments=(scored,)))
    told.complete()
    told.claim()
    told.decide(story.shipment(report.uid, "pacs", body=report.body), assessments=[scored])
    told.lose("connection refused")
    told.decided(study="1.2.2", finding=Finding.UNCERTAIN, probability=0.55, priority=Priority.STAT)
    told.claimed("1.2.3")
    told.decide(
        study="1.2.3",
        event=Event.FAILED,
        finding=Finding.NOT_ASSESSED,
        probability=None,
        priority=Priority.ROUTINE,
        status_reason="the image is blank",
    )
    told.receive("1.2.4")
    hospital.readers.claim("1.2.4", "somebody", hospital.now, hospital.now)
    seal_all(hospital.trail, hospital.now)


def whole(page):
    """Nothing has to be scrolled sideways to be read."""
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


every_look = pytest.mark.parametrize(
    ("scheme", "size"), LOOKS, ids=[f"{scheme}-{size['width']}" for scheme, size in LOOKS]
)


def sound(page, path):
    page.eval_on_selector_all("details", "found => found.forEach(one => { one.open = true })")
    assert violations(page) == [], path
    assert whole(page), path


@every_look
def test_no_page_has_a_violation(served, scheme, size):
    busy(served.hospital)
    page = served.open(color_scheme=scheme, viewport=size, reduced_motion="reduce")
    page.goto("/login")
    assert violations(page) == []
    served.hospital.person("all", Role.ADMIN, Role.AUDITOR, Role.RADIOLOGIST)
    page = served.reader("all", color_scheme=scheme, viewport=size, reduced_motion="reduce")
    with served.refusals():
        for path in PAGES:
            page.goto(path)
            sound(page, path)
    page.goto("/")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []


@every_look
def test_no_page_on_the_way_in_has_a_violation(served, scheme, size):
    """A first password by its link, the second factor set up and its recovery codes, and asked for the next time."""
    hospital = served.hospital
    link = make_link(hospital.accounts, "auditor", "test", hospital.now)
    page = served.open(color_scheme=scheme, viewport=size, reduced_motion="reduce")
    with served.refusals():
        for path in (f"/first/{link}", "/first/no-such-link"):
            page.goto(path)
            sound(page, path)
        sign_in(page, "auditor", "not the password")
        expect(page.get_by_role("alert")).to_be_visible()
        sound(page, "a refused sign-in")
    sign_in(page, "auditor")
    page.wait_for_url(f"{served.base}/")
    page.goto("/second")
    secret = page.locator("code").inner_text().replace(" ", "")
    page.get_by_label("Code").fill(pyotp.TOTP(secret).at(hospital.now))
    page.get_by_role("button", name="Set it up").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    sound(page, "recovery codes")
    page.context.clear_cookies()
    sign_in(page, "auditor")
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    sound(page, "the second factor")


def sign_in(page, name, password=PASSWORD):
    page.goto("/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")
