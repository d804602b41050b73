"""Evidence on the page of a study: where the site turned it on, of the decision that stands, and with its words."""

import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from support import story
from support.evidence_pages import BOTH, COLUMN, COLUMNS, RADIUS, ROW, ROWS, add_evidence, mapped, outlined
from support.saying import read
from support.site import Hospital
from support.xrays import radiograph

from triage_agent.domain.accounts import Role
from triage_agent.domain.evidence import EVIDENCE_NOTICE
from triage_agent.domain.vocabulary import ArtifactKind, AuditAction
from triage_agent.domain.withdrawal import RejectionReason

PAGE = f"/studies/{story.STUDY}"
IMAGE = f"{PAGE}/images/{story.STUDY}.1"
PICTURE = f"{PAGE}/evidence"
GSPS, SC = BOTH


@pytest.fixture
def make(tmp_path):
    made = []

    def make(**settings):
        made.append(Hospital(tmp_path, **{"evidence": True, **settings}))
        return made[-1]

    yield make
    for one in made:
        one.engine.dispose()


def pixels(answer):
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    return np.asarray(Image.open(BytesIO(answer.content)))


def test_outlines_lie_over_the_image_where_the_score_comes_from_and_only_when_asked_for(make):
    hospital = make()
    mapped(hospital)
    browser = hospital.browser("radiologist")
    assert pixels(browser.get(IMAGE)).ndim == 2
    drawn = outlined(pixels(browser.get(IMAGE, params={"evidence": "true"})))
    words, above = drawn[190:], drawn[:190]
    rows, columns = np.nonzero(above)
    away = np.hypot(rows + 0.5 - ROW, columns + 0.5 - COLUMN)
    assert np.abs(away - RADIUS).max() < 8
    assert len(rows) > 100
    _, there = np.nonzero(words)
    assert there.min() < 10
    assert 100 < there.max() < COLUMNS - 2  # they are whole
    assert drawn.shape == (ROWS, COLUMNS)


def test_the_page_has_a_switch_that_is_off_and_the_words_beside_it(make):
    hospital = make()
    mapped(hospital, images=2)
    browser = hospital.browser("radiologist")
    page = browser.get(PAGE).text
    (switch,) = re.findall(r'<input type="checkbox" id="evidence"[^>]*>', page)
    assert "checked" not in switch
    assert page.count("data-mapped") == 1  # of the two images the one that has a map
    assert "evidence=true" not in page
    asked = browser.get(PAGE, params={"evidence": "1"}).text
    assert f"{EVIDENCE_NOTICE.capitalize()}." in asked
    assert f'src="{IMAGE}?evidence=true"' in asked
    assert browser.get(f"{PAGE}/images/{story.STUDY}.2", params={"evidence": "true"}).status_code == 404


def test_a_site_without_evidence_shows_nothing_of_what_was_made_before(make):
    hospital = make(evidence=False)
    mapped(hospital)
    browser = hospital.browser("radiologist")
    page = browser.get(PAGE, params={"evidence": "1"}).text
    assert 'id="evidence"' not in page
    assert "evidence=true" not in page
    assert browser.get(IMAGE, params={"evidence": "true"}).status_code == 404
    assert browser.get(PICTURE).status_code == 404


def test_where_only_a_picture_was_made_it_is_shown(make):
    hospital = make()
    mapped(hospital, (SC,))
    browser = hospital.browser("radiologist")
    page = browser.get(PAGE).text
    assert re.search(r'id="evidence-picture" hidden', page)
    (made,) = hospital.worklist.results_of(story.STUDY, 9, {SC})
    assert np.array_equal(pixels(browser.get(PICTURE)), read(made).pixel_array)
    assert browser.get(IMAGE, params={"evidence": "true"}).status_code == 404


def test_a_map_of_an_earlier_decision_or_one_that_was_withdrawn_is_not_shown(make):
    hospital = make()
    mapped(hospital)
    browser = hospital.browser("radiologist")
    told = hospital.story
    told.receive(image=f"{story.STUDY}.7")
    told.complete()
    told.claim()
    told.decide()
    assert 'id="evidence"' not in browser.get(PAGE).text
    assert browser.get(IMAGE, params={"evidence": "true"}).status_code == 404
    image = radiograph(study=story.STUDY)
    add_evidence(hospital, [image], [story.scored(str(image.SOPInstanceUID))], revision=2)
    assert 'id="evidence"' in browser.get(PAGE).text
    made = hospital.worklist.objects_of(story.STUDY)
    reason = RejectionReason.QUALITY
    note = story.shipment("2.25.99", kind=ArtifactKind.KOS, body=b"note")
    assert hospital.worklist.withdraw(story.STUDY, [note], made, reason=reason, actor="admin", now=told.tick())
    assert 'id="evidence"' not in browser.get(PAGE).text


def test_it_is_served_as_images_are_to_those_who_may_see_them_audited_and_kept_by_no_cache(make):
    hospital = make(entrance={"masked": frozenset({Role.AUDITOR})})
    mapped(hospital)
    for path in (f"{IMAGE}?evidence=true", PICTURE):
        assert hospital.browser().get(path).status_code == 303
    auditor = hospital.browser("auditor")
    answer = auditor.get(PICTURE)
    assert answer.headers["cache-control"] == "private, no-store"
    assert b"kesson" not in answer.content
    (seen,) = hospital.audited(AuditAction.STUDY_VIEWED)
    assert (seen.actor, seen.study_instance_uid) == ("auditor", story.STUDY)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"\0" * 200])
def test_objects_that_cannot_be_read_cost_the_map_alone(make, body):
    hospital = make()
    told = hospital.story
    told.complete()
    told.claim()
    told.decide()
    shipments = [story.shipment(f"2.25.{kind}", kind=ArtifactKind(word), body=body) for kind, word in enumerate(BOTH)]
    hospital.worklist.add_results(story.STUDY, 1, shipments, told.tick())
    browser = hospital.browser("radiologist")
    assert browser.get(PAGE).status_code == 200
    assert browser.get(IMAGE, params={"evidence": "true"}).status_code == 404
    assert browser.get(PICTURE).status_code == 404
