"""The page of a study: images as a display shows them, what was decided, what was sent, what was there before."""

import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from support import story
from support.instances import dx
from support.site import PASSWORD, Hospital, csrf_of
from support.xrays import picture, radiograph

from triage_agent.domain.study import Assessment
from triage_agent.domain.vocabulary import AuditAction, DeliveryState, Outcome, Status
from triage_agent.results.context import ResultContext
from triage_agent.results.structured_report import build_structured_report

STUDY = story.STUDY
IMAGE = f"{STUDY}.1"


@pytest.fixture
def hospital(tmp_path):
    made = Hospital(tmp_path, pacs_link="https://pacs.example/view?s={study_uid}&a={accession_number}")
    radiograph(picture(1, 200, 160)).save_as(tmp_path / f"{IMAGE}.dcm", enforce_file_format=True)
    yield made
    made.engine.dispose()


def shown(answer):
    return np.asarray(Image.open(BytesIO(answer.content)), dtype=float)


def test_an_image_is_shown_windowed_and_inverted(hospital):
    browser = hospital.browser("radiologist")
    address = f"/studies/{STUDY}/images/{IMAGE}"
    whole = browser.get(address)
    assert (whole.status_code, whole.headers["content-type"]) == (200, "image/png")
    assert shown(whole).shape == (200, 160)
    assert np.allclose(255 - shown(browser.get(f"{address}?inverted=true")), shown(whole), atol=1)
    part = shown(browser.get(f"{address}?low=0.4&high=0.6"))
    assert part.std() > shown(whole).std() > shown(browser.get(f"{address}?low=-0.5&high=1.5")).std()
    assert max(shown(browser.get(f"{address}?size=320")).shape) <= 320


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/studies/{STUDY}/images/1.2.9", 404),
        (f"/studies/1.2.9/images/{IMAGE}", 404),
        (f"/studies/{STUDY}/images/{IMAGE}?size=5000", 404),
        (f"/studies/{STUDY}/images/{IMAGE}?low=nan", 400),
        (f"/studies/{STUDY}/images/{IMAGE}?high=4", 400),
    ],
)
def test_images_that_are_not_there(hospital, path, status):
    assert hospital.browser("radiologist").get(path).status_code == status


def test_an_image_that_cannot_be_read_says_why(hospital, tmp_path):
    (tmp_path / f"{IMAGE}.dcm").write_bytes(b"no image")
    answer = hospital.browser("radiologist").get(
        f"/studies/{STUDY}/images/{IMAGE}", headers={"Accept": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["detail"]


def test_images_are_for_those_who_may_see_the_study(hospital):
    assert hospital.browser().get(f"/studies/{STUDY}/images/{IMAGE}").status_code == 303


def test_looking_at_images_is_audited_once_for_a_while(hospital):
    browser = hospital.browser("radiologist")
    for _ in range(3):
        browser.get(f"/studies/{STUDY}/images/{IMAGE}")
    browser.get(f"/studies/{STUDY}")
    assert len(hospital.audited(AuditAction.STUDY_VIEWED)) == 1


def decided(hospital):
    header = dx(StudyInstanceUID=STUDY, SOPInstanceUID=IMAGE)
    scored = Assessment(sop_instance_uid=IMAGE, outcome=Outcome.SCORED, probability=0.9)
    context = ResultContext(result=story.decision(STUDY), headers=(header,), assessments=(scored,))
    report = build_structured_report(context)
    hospital.story.complete()
    hospital.story.claim()
    hospital.story.decide(story.shipment(report.uid, "pacs", body=report.body), assessments=[scored])
    return report


def test_the_page_says_what_was_decided_why_and_where_it_went(hospital):
    decided(hospital)
    page = hospital.browser("radiologist").get(f"/studies/{STUDY}").text
    detail = hospital.worklist.study(STUDY)
    for said in ("Abnormal", "pacs", "Waits to be sent", *detail.reasons):
        assert said in page
    assert "Radiograph 1 of 1" in page
    assert 'href="https://pacs.example/view?s=1.2.1&amp;a=A1"' in page


def test_the_report_is_readable(hospital):
    decided(hospital)
    page = hospital.browser("radiologist").get(f"/studies/{STUDY}").text
    lines = re.findall(r'<li class="level-\d"><span class="why-name">([^<]*)</span>(?:: ([^<]*))?', page)
    assert len(lines) > 5
    assert any("robability" in concept or "robability" in value for concept, value in lines)


def test_what_failed_is_tried_again(hospital):
    decided(hospital)
    assert "Try again what failed" not in hospital.browser("admin").get(f"/studies/{STUDY}").text
    (delivery,) = hospital.worklist.claim_deliveries("w", hospital.story.tick(), story.LEASE, 1)
    hospital.worklist.delivery_failed(delivery, "refused", None, hospital.story.tick())
    browser = hospital.browser("admin")
    assert "Try again what failed" in browser.get(f"/studies/{STUDY}").text
    form = {"csrf": csrf_of(browser.get("/password"))}
    assert browser.post(f"/studies/{STUDY}/retry", data=form).status_code == 303
    assert hospital.worklist.study(STUDY).deliveries[0].state is DeliveryState.PENDING
    assert browser.post(f"/studies/{STUDY}/retry", data=form).status_code == 409


def test_earlier_studies_of_the_patient_are_named(hospital):
    hospital.story.receive("1.2.5", patient_id="P7", patient_name="One")
    hospital.story.receive("1.2.6", patient_id="P7", patient_name="One")
    hospital.story.receive("1.2.7", patient_id="P8", patient_name="Other")
    page = hospital.browser("radiologist").get("/studies/1.2.6").text
    assert 'href="/studies/1.2.5"' in page
    assert "1.2.7" not in page
    assert hospital.worklist.study("1.2.6").item.status is Status.RECEIVING
    assert PASSWORD not in page
