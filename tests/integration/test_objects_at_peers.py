"""Every kind of result object at software that is not ours: Orthanc keeps and shows each, dcmtk applies the state."""

import json
import subprocess
from io import BytesIO

import numpy as np
import pytest
from highdicom.sr import srread
from PIL import Image, ImageFont
from pydicom import Dataset, dcmread
from support import story
from support.evidence import map_of, spot
from support.orthanc import orthanc_server
from support.programs import require_program
from support.saying import read, stands_on, words_of
from support.xrays import picture, radiograph

from triage_agent.delivery.dimse import DimseTransport
from triage_agent.delivery.endpoint import Endpoint
from triage_agent.domain.decision import Artifact, Shipment
from triage_agent.domain.evidence import EVIDENCE_NOTICE
from triage_agent.domain.study import Assessment
from triage_agent.domain.vocabulary import ArtifactKind, Family, Outcome
from triage_agent.domain.withdrawal import RejectionReason
from triage_agent.results.context import ResultContext
from triage_agent.results.page import BOLD, wrapped
from triage_agent.results.registry import REGISTRY
from triage_agent.results.rejection import rejection_notes

pytestmark = pytest.mark.external

KINDS = [kind for kind in REGISTRY if kind.family is Family.DICOM_OBJECT]
WINDOW = {"WindowCenter": 1800, "WindowWidth": 2600}


@pytest.fixture(scope="module")
def images():
    """A study of two radiographs, with pixels."""
    first = radiograph(seed=1, **WINDOW)
    return [first, radiograph(seed=2, study=first.StudyInstanceUID, InstanceNumber=2, **WINDOW)]


@pytest.fixture(scope="module")
def made(images):
    """An artifact of each kind, and the note that withdraws them."""
    uids = [str(image.SOPInstanceUID) for image in images]
    scored = [
        Assessment(sop_instance_uid=uid, outcome=Outcome.SCORED, probability=0.8, anatomy="XR_KNEE") for uid in uids
    ]
    study = str(images[0].StudyInstanceUID)
    result = story.decision(study, probability=0.8)
    maps = {uid: map_of(uid, spot(224, 192, 60, 90, 20)) for uid in uids}
    context = ResultContext(result=result, headers=images, assessments=scored, maps=maps)
    artifacts = {kind: REGISTRY[kind].build(context) for kind in KINDS}
    objects = [Shipment(artifact=one, destination="pacs") for one in artifacts.values()]
    (note,) = rejection_notes(study, objects, RejectionReason.QUALITY, story.T0)
    return artifacts | {ArtifactKind.REJECTION: note.artifact}


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory, made, images):
    """An Orthanc that has the images and, twice sent, every object."""
    folder = tmp_path_factory.mktemp("orthanc")
    with orthanc_server(folder) as server:
        for image in images:
            image.save_as(folder / "image.dcm", enforce_file_format=True)
            server.upload(folder / "image.dcm")
        transport = DimseTransport(Endpoint(host="127.0.0.1", port=server.port, ae_title="PACS"))
        try:
            for artifact in [*made.values(), *made.values()]:
                transport.send(artifact)
        finally:
            transport.close()
        yield server


def table(**values):
    """A lookup table of 4096 entries of 12 bits that makes dark places darker, as an item."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    item.add_new("LUTData", "OW", (np.arange(4096) ** 2 // 4096).astype("<u2").tobytes())
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


UNUSUAL = {
    "several frames": {"NumberOfFrames": 3, **WINDOW},
    "a table as VOI LUT": {"VOILUTSequence": [table()]},
    "a table as Modality LUT": {
        "ModalityLUTSequence": [table(ModalityLUTType="US")],
        **dict.fromkeys(("RescaleSlope", "RescaleIntercept", "RescaleType")),
    },
}


def unusual(looks):
    """Such an image, and what is made of its study."""
    pixels = picture(1)
    image = radiograph(pixels, **UNUSUAL[looks])
    frame = None
    if "NumberOfFrames" in image:
        image.PixelData, frame = pixels.tobytes() * 3, 2
    uid, study = str(image.SOPInstanceUID), str(image.StudyInstanceUID)
    scored = Assessment(sop_instance_uid=uid, outcome=Outcome.SCORED, probability=0.8, anatomy="XR_KNEE")
    context = ResultContext(
        result=story.decision(study, probability=0.8),
        headers=[image],
        assessments=[scored],
        maps={uid: map_of(uid, spot(224, 192, 60, 90, 20), frame)},
    )
    kinds = [kind for kind in KINDS if REGISTRY[kind].has_something_to_say(context)]
    return image, [REGISTRY[kind].build(context) for kind in kinds]


@pytest.mark.parametrize("looks", UNUSUAL)
def test_orthanc_keeps_and_shows_what_is_made_of_an_unusual_image(looks, orthanc, tmp_path):
    image, artifacts = unusual(looks)
    states = {ArtifactKind.GSPS, ArtifactKind.EVIDENCE_GSPS}
    assert {one.kind for one in artifacts} == {*KINDS} - (states if "Modality" in looks else set())
    image.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    orthanc.upload(tmp_path / "image.dcm")
    transport = DimseTransport(Endpoint(host="127.0.0.1", port=orthanc.port, ae_title="PACS"))
    try:
        for artifact in artifacts:
            transport.send(artifact)
    finally:
        transport.close()
    for artifact in artifacts:
        number = number_of(orthanc, artifact.uid)
        assert dcmread(BytesIO(orthanc.ask(f"instances/{number}/file"))) == read(artifact)
        if artifact.kind in {ArtifactKind.SC, ArtifactKind.EVIDENCE_SC}:
            with Image.open(BytesIO(orthanc.ask(f"instances/{number}/preview"))) as page:
                assert page.width == 800


def number_of(orthanc, uid):
    """Where Orthanc has the one instance with this UID."""
    query = {"Level": "Instance", "Query": {"SOPInstanceUID": uid}}
    (number,) = json.loads(orthanc.ask("tools/find", query))
    return number


@pytest.mark.parametrize("kind", [*KINDS, ArtifactKind.REJECTION])
def test_orthanc_keeps_each_object_as_it_was_sent_and_once(kind, orthanc, made):
    kept = orthanc.ask(f"instances/{number_of(orthanc, made[kind].uid)}/file")
    sent = read(made[kind])
    assert dcmread(BytesIO(kept)) == sent
    found = Artifact(kind=kind, uid=made[kind].uid, body=kept, summary="")
    assert words_of(found) == words_of(made[kind])


def test_orthanc_finds_them_all_to_be_of_one_study_with_the_images(orthanc, images, made):
    query = {"Level": "Study", "Query": {"StudyInstanceUID": str(images[0].StudyInstanceUID)}}
    (study,) = json.loads(orthanc.ask("tools/find", query))
    (patient,) = json.loads(orthanc.ask("patients"))
    said = json.loads(orthanc.ask(f"studies/{study}/instances"))
    assert len(said) == len(images) + len(made)
    assert json.loads(orthanc.ask(f"patients/{patient}"))["MainDicomTags"]["PatientID"] == "P1"
    series = [json.loads(orthanc.ask(f"series/{one}"))["MainDicomTags"] for one in _series(orthanc, study)]
    modalities = sorted(one["Modality"] for one in series)
    assert modalities == ["DOC", "DX", "DX", "KO", "KO", "OT", "OT", "PR", "PR", *["SR"] * 4]


def _series(orthanc, study):
    return json.loads(orthanc.ask(f"studies/{study}"))["Series"]


@pytest.mark.parametrize("kind", [ArtifactKind.SR, ArtifactKind.SR_COMPREHENSIVE, ArtifactKind.SR_ENHANCED])
def test_the_figures_that_come_back_are_those_that_were_sent(kind, orthanc, made):
    kept = orthanc.ask(f"instances/{number_of(orthanc, made[kind].uid)}/file")
    groups = srread(BytesIO(kept)).content.get_image_measurement_groups()
    assert [group.get_measurements()[0].value for group in groups] == pytest.approx([0.8, 0.8, 0.8])


def test_orthanc_shows_the_page_as_an_image(orthanc, made):
    shown = orthanc.ask(f"instances/{number_of(orthanc, made[ArtifactKind.SC].uid)}/preview")
    with Image.open(BytesIO(shown)) as page:
        assert stands_on(np.asarray(page.convert("L")), "Finding: Abnormal (XR_KNEE)", BOLD, 21)


def test_orthanc_shows_the_picture_of_evidence_with_what_it_is_not(orthanc, made):
    shown = orthanc.ask(f"instances/{number_of(orthanc, made[ArtifactKind.EVIDENCE_SC].uid)}/preview")
    letters = ImageFont.truetype(str(BOLD), 21, layout_engine=ImageFont.Layout.BASIC)
    with Image.open(BytesIO(shown)) as page:
        grey = np.asarray(page.convert("L"))
    for row in wrapped(EVIDENCE_NOTICE, 800 - 2 * 32, letters.getlength):
        assert stands_on(grey[:200], row, BOLD, 21)


def test_orthanc_hands_the_document_out_as_a_pdf(orthanc, made):
    assert orthanc.ask(f"instances/{number_of(orthanc, made[ArtifactKind.PDF].uid)}/pdf").startswith(b"%PDF-")


@pytest.mark.parametrize(
    "looks",
    [
        {},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        {"RescaleSlope": "2", "RescaleIntercept": "-100"},
        {"VOILUTSequence": [table()], "WindowCenter": None, "WindowWidth": None},
    ],
    ids=["as usual", "inverted", "rescaled", "by a table"],
)
def test_dcmtk_shows_an_image_with_the_state_as_it_shows_it_without(looks, tmp_path):
    """A state that forgot the window, the rescaling or the polarity would show another picture."""
    header = radiograph(seed=1, **{keyword: value for keyword, value in (WINDOW | looks).items() if value is not None})
    scored = Assessment(
        sop_instance_uid=str(header.SOPInstanceUID), outcome=Outcome.SCORED, probability=0.8, anatomy="XR_KNEE"
    )
    result = story.decision(str(header.StudyInstanceUID), probability=0.8)
    context = ResultContext(result=result, headers=[header], assessments=[scored])
    image, state = tmp_path / "image.dcm", tmp_path / "state.dcm"
    header.save_as(image, enforce_file_format=True)
    state.write_bytes(REGISTRY[ArtifactKind.GSPS].build(context).body)
    with_it = _shown(["dcmp2pgm", "-p", str(state)], image, tmp_path / "with.pgm")
    voi = "--use-window" if "WindowCenter" in header else "--use-voi-lut"
    without = _shown(["dcm2img", "dcmj2pnm"], image, tmp_path / "without.pgm", voi)
    assert with_it.shape == without.shape == picture(1).shape
    assert np.abs(with_it.astype(int) - without.astype(int)).max() <= 1
    assert np.ptp(with_it) > 100


def _shown(command, image, to, voi="--use-window"):
    if command[0] == "dcmp2pgm":
        call = [require_program("dcmp2pgm"), *command[1:], str(image), str(to)]
    else:
        call = [require_program(*command), voi, "1", "--write-raw-pnm", str(image), str(to)]
    done = subprocess.run(call, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    with Image.open(to) as page:
        return np.asarray(page.convert("L"))
