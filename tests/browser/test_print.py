"""Pages on paper: what was decided, with its images and without what one can only press; nothing is cut at the edge."""

from io import BytesIO

import pytest
from playwright.sync_api import expect
from pypdf import PdfReader
from support import story
from support.instances import dx

from triage_agent.domain.accounts import Role
from triage_agent.results.context import ResultContext
from triage_agent.results.structured_report import build_structured_report

PAPER = {"width": 718, "height": 1040}  # A4 between Chromium's margins, in pixels


@pytest.fixture
def page(served):
    """Before a study that was raised and has a report, as a reader who may do everything."""
    hospital = served.hospital
    hospital.person("all", Role.ADMIN, Role.AUDITOR, Role.RADIOLOGIST)
    header = dx(StudyInstanceUID=story.STUDY, SOPInstanceUID=f"{story.STUDY}.1")
    scored = story.scored(f"{story.STUDY}.1", 0.9)
    report = build_structured_report(ResultContext(result=story.decision(), headers=(header,), assessments=(scored,)))
    hospital.story.complete()
    hospital.story.claim()
    hospital.story.decide(story.shipment(report.uid, "pacs", body=report.body), assessments=[scored])
    return served.reader("all", color_scheme="dark")


def printed(page):
    """The words on paper, and how many pictures stand beside them."""
    pages = PdfReader(BytesIO(page.pdf(format="A4"))).pages
    words = " ".join(" ".join(one.extract_text() for one in pages).split())
    return words, sum(len(one.images) for one in pages)


@pytest.mark.parametrize(
    "path", ["/", f"/studies/{story.STUDY}", "/dashboard", f"/studies/{story.STUDY}/story", "/audit"]
)
def test_nothing_is_cut_at_the_edge_and_nothing_is_there_to_be_pressed(page, path):
    page.goto(path)
    page.emulate_media(media="print")
    page.set_viewport_size(PAPER)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    for one in page.locator("button, input:not([type=hidden]), select").all():
        expect(one).to_be_hidden()
    expect(page.get_by_text("Preliminary. Machine-made. Not a diagnosis.")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"  # on white, whatever the screen's


def test_a_study_is_printed_with_its_images_and_the_whole_report(page):
    page.goto(f"/studies/{story.STUDY}")
    page.get_by_role("img", name="Radiograph 1 of 1").evaluate("async image => await image.decode()")
    words, pictures = printed(page)
    assert pictures == 1
    for said in (
        "Åkesson, Görel",
        "Abnormal",
        "Why",
        "Imaging Measurement Report",
        "Preliminary. Machine-made. Not a diagnosis.",
    ):
        assert said in words, said
    for pressed in ("Sign out", "Claim", "Invert", "Give feedback"):
        assert pressed not in words


def test_the_dashboard_is_printed_with_its_numbers_of_now(page):
    page.goto("/dashboard")
    words, _ = printed(page)
    assert "Studies received by the hour" in words
    assert "As of" in words
    assert "hours, days and weeks of plots are UTC" in words
