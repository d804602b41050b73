"""Maps of decided studies: where they are drawn, when they are made, and that whatever fails costs them alone."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from structlog.testing import capture_logs
from support.evidence import BrightPlaces, drawn_in
from support.instances import write_part10
from support.ordering import message
from support.saying import read
from support.story import MODEL, Story, decision, shipment
from support.xrays import inverted, picture, radiograph

from triage_agent import mapping as module
from triage_agent.domain.decision import Route
from triage_agent.domain.errors import DecoderUnavailableError, WorklistUnavailableError
from triage_agent.domain.orders import PatientUpdate
from triage_agent.domain.study import Assessment, ClaimedStudy, StoredInstance
from triage_agent.domain.vocabulary import ArtifactKind, Event, Finding, Outcome, Priority, Status
from triage_agent.imaging.loader import DirectLoader
from triage_agent.mapping import NONE, QUEUED, Mapper
from triage_agent.worklist import MemoryWorklist

ROUTES = [Route(to="pacs", send=(ArtifactKind.EVIDENCE_GSPS, ArtifactKind.EVIDENCE_SC))]
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
TOP, LEFT, HEIGHT, WIDTH = 40, 120, 30, 24  # of the place in the picture that is brighter than all else


class Site:
    """A worklist with a decided study, its files, and a mapper."""

    def __init__(self, spool):
        self.spool = spool
        self.worklist = MemoryWorklist()
        self.story = Story(self.worklist)
        self.loader = DirectLoader()
        self.explainer = BrightPlaces(MODEL.digest)
        self.told = []
        self.images = []

    def mapper(self, routes=ROUTES):
        return Mapper(
            worklist=self.worklist,
            spool=self.spool,
            loader=self.loader,
            explainer=self.explainer,
            routes=routes,
            institution="",
            clock=self.story.tick,
            mapped=self.told.append,
        )

    def study(self, *images, probability=0.8, sent=True, **changes):
        """A study of these radiographs is decided; what the pipeline then offers."""
        self.images = images
        (uid,) = {str(one.StudyInstanceUID) for one in images}
        for number, image in enumerate(images):
            write_part10(self.spool / f"{number}.dcm", image)
            self.story.receive(uid, str(image.SOPInstanceUID), patient_id=str(image.PatientID))
        self.story.decided(shipment("2.25.1"), study=uid)
        if sent:
            self.story.send()
        result = decision(uid, probability=probability, **changes)
        scored = [
            Assessment(
                sop_instance_uid=str(one.SOPInstanceUID),
                outcome=Outcome.SCORED,
                probability=probability - number / 100,
                anatomy="XR_KNEE",
            )
            for number, one in enumerate(images)
        ]
        stored = [stored_as(one, f"{number}.dcm", self.story.now) for number, one in enumerate(images)]
        claimed = ClaimedStudy(
            study_instance_uid=uid, revision=1, priority=Priority.ROUTINE, attempt=1, instances=tuple(stored)
        )
        return claimed, result, scored

    def kinds(self):
        return {one.kind for one in self.worklist.results_of(str(self.images[0].StudyInstanceUID), 9)} & {
            kind for kind in ArtifactKind if kind.is_evidence
        }

    def made(self, kind):
        """What was queued as `kind`."""
        found = self.worklist.results_of(str(self.images[0].StudyInstanceUID), 9)
        return read(next(one for one in found if one.kind is kind))


def stored_as(image, path, at):
    return StoredInstance(
        sop_instance_uid=str(image.SOPInstanceUID),
        series_instance_uid=str(image.SeriesInstanceUID),
        sop_class_uid=str(image.SOPClassUID),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        path=path,
        received_at=at,
    )


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def marked():
    """A picture with a place that is brighter than all else, uint16 of 12 bits."""
    pixels = np.minimum(picture(1), 3500).astype(np.uint16)
    pixels[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH] = 4095
    return pixels


LOOKS = {
    "as it is": (lambda pixels: pixels, {}),
    "turned": (np.rot90, {}),
    "upside down": (lambda pixels: pixels[::-1], {}),
    "cropped": (lambda pixels: pixels[20:150, 90:], {}),
    "inverted": (inverted, {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}),
    "of high pixels": (lambda pixels: pixels, {"PixelSpacing": [0.4, 0.2]}),
    "of wide pixels": (lambda pixels: pixels, {"PixelSpacing": [0.1, 0.35]}),
    "turned, of high pixels and inverted": (
        lambda pixels: inverted(np.rot90(pixels)),
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE", "PixelSpacing": [0.3, 0.2]},
    ),
}


@pytest.mark.parametrize("looks", LOOKS)
def test_an_outline_lies_where_the_place_is_in_the_stored_image(looks, site):
    change, elements = LOOKS[looks]
    stored = np.ascontiguousarray(change(marked()))
    image = radiograph(stored, **WINDOW, **elements)
    mapper = site.mapper()
    mapper.offer(*site.study(image))
    assert mapper.step()
    ((line,),) = drawn_in(site.made(ArtifactKind.EVIDENCE_GSPS)).values()
    inside = stored == (0 if elements.get("PhotometricInterpretation") == "MONOCHROME1" else 4095)
    rows, columns = (np.flatnonzero(inside.any(axis=side)) for side in (1, 0))
    cell = max(stored.shape) / 48  # what is drawn is as coarse as a map
    assert line.min(axis=0) == pytest.approx([columns[0], rows[0]], abs=cell)
    assert line.max(axis=0) == pytest.approx([columns[-1] + 1, rows[-1] + 1], abs=cell)


def test_of_several_frames_the_one_that_was_scored_is_drawn_on(site):
    frames = np.stack([np.minimum(picture(seed), 3500) for seed in (1, 2)] + [marked()] * 2 + [picture(3)] * 2)
    image = radiograph(marked(), NumberOfFrames=6, **WINDOW)
    image.PixelData = frames.astype(np.uint16).tobytes()
    mapper = site.mapper()
    mapper.offer(*site.study(image))
    mapper.step()
    (annotation,) = site.made(ArtifactKind.EVIDENCE_GSPS).GraphicAnnotationSequence
    assert annotation.ReferencedImageSequence[0].ReferencedFrameNumber == 3
    assert len(annotation.GraphicObjectSequence) == 1
    (source,) = site.made(ArtifactKind.EVIDENCE_SC).SourceImageSequence
    assert source.ReferencedFrameNumber == 3


def test_maps_go_behind_the_results_and_the_study_stays_delivered(site):
    mapper = site.mapper()
    claimed, *rest = site.study(radiograph(marked(), **WINDOW))
    mapper.offer(claimed, *rest)
    assert site.kinds() == set()
    assert mapper.step()
    assert not mapper.step()
    assert site.kinds() == {ArtifactKind.EVIDENCE_GSPS, ArtifactKind.EVIDENCE_SC}
    assert site.told == [QUEUED]
    assert site.worklist.study(claimed.study_instance_uid).item.status is Status.DELIVERED


@pytest.mark.parametrize(
    "changes",
    [
        {"probability": 0.3, "finding": Finding.NORMAL},
        {"event": Event.FAILED},
        {"model": replace(MODEL, digest="another's")},
    ],
)
def test_a_study_that_shows_nothing_or_that_another_bundle_decided_has_no_maps(changes, site):
    mapper = site.mapper()
    mapper.offer(*site.study(radiograph(marked(), **WINDOW), **changes))
    assert not mapper.step()
    assert site.told == []


def test_where_no_route_wants_any_none_are_made(site):
    mapper = site.mapper(routes=[Route(to="pacs", send=(ArtifactKind.SR,))])
    mapper.offer(*site.study(radiograph(marked(), **WINDOW)))
    assert not mapper.step()


def test_maps_go_only_where_the_rule_that_fired_sends_results(site):
    mapper = site.mapper([*ROUTES, Route(to="elsewhere", send=(ArtifactKind.EVIDENCE_SC,))])
    claimed, result, scored = site.study(radiograph(marked()))
    mapper.offer(claimed, replace(result, routes=("ris",)), scored)
    assert not mapper.step()
    mapper.offer(claimed, replace(result, routes=("elsewhere", "ris")), scored)
    assert mapper.step()
    assert site.kinds() == {ArtifactKind.EVIDENCE_SC}
    deliveries = site.worklist.study(claimed.study_instance_uid).deliveries
    assert {one.destination for one in deliveries if one.kind.is_evidence} == {"elsewhere"}


def test_the_four_most_abnormal_images_have_maps(site):
    first = radiograph(marked(), **WINDOW)
    others = [radiograph(marked(), study=first.StudyInstanceUID, **WINDOW) for _ in range(5)]
    mapper = site.mapper()
    mapper.offer(*site.study(first, *others))
    mapper.step()
    wanted = {str(one.SOPInstanceUID) for one in (first, *others[:3])}
    assert set(drawn_in(site.made(ArtifactKind.EVIDENCE_GSPS))) == wanted


def test_images_for_which_there_is_no_time_have_no_map(site, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS", -1)
    mapper = site.mapper()
    mapper.offer(*site.study(radiograph(marked(), **WINDOW)))
    assert mapper.step()
    assert (site.told, site.kinds()) == ([NONE], set())


def test_an_image_in_which_no_place_raises_the_score_is_left_alone(site):
    mapper = site.mapper()
    mapper.offer(*site.study(radiograph(np.minimum(picture(1), 3000).astype(np.uint16), **WINDOW)))
    mapper.step()
    assert (site.told, site.kinds()) == ([NONE], set())


def test_what_fails_costs_the_map_alone_and_is_told_without_its_words(site):
    def crash(_image):
        raise RuntimeError("CUDA error: Doe^Jane")

    site.explainer.explain = crash
    mapper = site.mapper()
    claimed, *rest = site.study(radiograph(marked(), **WINDOW))
    mapper.offer(claimed, *rest)
    with capture_logs() as lines:
        assert mapper.step()
    assert (site.told, site.kinds()) == ([NONE], set())
    assert [(line["event"], line["error"]) for line in lines] == [("evidence_failed", "RuntimeError")]
    assert site.worklist.study(claimed.study_instance_uid).item.status is Status.DELIVERED


@pytest.mark.parametrize("away", [WorklistUnavailableError("away"), DecoderUnavailableError("away", remedy="wait")])
def test_while_database_or_spool_are_away_a_study_waits(away, site, monkeypatch):
    def fail(*_args, **_named):
        raise away

    mapper = site.mapper()
    mapper.offer(*site.study(radiograph(marked(), **WINDOW)))
    what = site.worklist if isinstance(away, WorklistUnavailableError) else site.loader
    name = "add_results" if what is site.worklist else "load"
    with monkeypatch.context() as patched:
        patched.setattr(what, name, fail)
        with pytest.raises(type(away)):
            mapper.step()
    assert mapper.step()
    assert site.told == [QUEUED]


def test_nothing_is_queued_once_it_is_told_to_stop(site):
    mapper = site.mapper()
    mapper.offer(*site.study(radiograph(marked(), **WINDOW)))
    mapper.stop()
    mapper.step()
    assert site.kinds() == set()


def test_a_map_names_who_the_patient_is_by_now(site):
    image = radiograph(marked(), **WINDOW)
    mapper = site.mapper()
    mapper.offer(*site.study(image))
    into = PatientUpdate(patient_id="NOW", patient_name="Roe^Jane")
    site.worklist.merge_patient([str(image.PatientID)], into, message("M1", site.story.tick()))
    assert mapper.step()
    made = site.worklist.results_of(str(image.StudyInstanceUID), 10)
    maps = [dcmread(BytesIO(one.body)) for one in made if one.kind.is_evidence]
    assert {(str(one.PatientID), str(one.PatientName)) for one in maps} == {("NOW", "Roe^Jane")}


def test_more_studies_than_can_wait_are_left_out_and_counted(site, monkeypatch):
    mapper = site.mapper()
    monkeypatch.setattr(mapper._waiting, "_longest", 1)
    offered = site.study(radiograph(marked(), **WINDOW))
    mapper.offer(*offered)
    mapper.offer(*offered)
    assert site.told == [NONE]
