"""A study of a served hospital that was raised, and whose evidence was made as a worker makes it."""

import numpy as np
from support import story
from support.evidence import map_of, spot
from support.xrays import picture, radiograph

from triage_agent.domain.decision import Shipment
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.results.context import ResultContext
from triage_agent.results.registry import REGISTRY

ROWS, COLUMNS = 240, 200
ROW, COLUMN, RADIUS = 60, 140, 24  # of the place that the map says the score leans on
BOTH = (ArtifactKind.EVIDENCE_GSPS, ArtifactKind.EVIDENCE_SC)


def mapped(hospital, kinds=BOTH, images=1):
    """Decide the hospital's study; its first image alone has a map. The UIDs of the images."""
    told, uids = hospital.story, [f"{story.STUDY}.{number}" for number in range(1, images + 1)]
    shown = [_image(hospital, uid, number) for number, uid in enumerate(uids, start=1)]
    for uid in uids[1:]:
        told.receive(image=uid)
    scored = [story.scored(uid, 0.9) for uid in uids]
    told.complete()
    told.claim()
    told.decide(assessments=scored)
    add_evidence(hospital, shown, scored, kinds)
    return uids


def add_evidence(hospital, shown, scored, kinds=BOTH, revision=1):
    """Queue what the registry builds of a map of the first image."""
    result = story.decision(revision=revision)
    maps = {str(shown[0].SOPInstanceUID): map_of(str(shown[0].SOPInstanceUID), heat())}
    context = ResultContext(result=result, headers=tuple(shown), assessments=tuple(scored), maps=maps)
    made = [Shipment(artifact=REGISTRY[kind].build(context), destination="pacs") for kind in kinds]
    assert hospital.worklist.add_results(story.STUDY, revision, made, hospital.story.tick())


def heat():
    return spot(ROWS, COLUMNS, ROW, COLUMN, RADIUS)


def outlined(pixels):
    """Where an outline was drawn, bool [rows, columns], of an RGB image; what is not grey."""
    return np.ptp(np.asarray(pixels).astype(int), axis=2) > 40


def _image(hospital, uid, number):
    image = radiograph(picture(number, ROWS, COLUMNS), study=story.STUDY, WindowCenter=2048, WindowWidth=4096)
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid
    image.SeriesInstanceUID = f"{story.STUDY}.9"
    image.save_as(hospital.folder / f"{uid}.dcm", enforce_file_format=True)
    return image
