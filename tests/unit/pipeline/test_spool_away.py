"""A spool that is away for a while costs no study its result, and no raise its message."""

import shutil

import pytest
from structlog.testing import capture_logs
from support.story import LEASE

from triage_agent.domain.errors import DecoderUnavailableError, ModelUnavailableError
from triage_agent.domain.vocabulary import Finding, Outcome, Priority, Status
from triage_agent.imaging.loader import DirectLoader, SpoolLoader
from triage_agent.worklist import MAX_ATTEMPTS


class Share:
    """The folder that files lie in; it can be taken away and brought back."""

    def __init__(self, folder):
        self.folder = folder
        self.elsewhere = folder.with_name(f"{folder.name}_away")

    def goes(self):
        self.folder.rename(self.elsewhere)

    def comes_back(self):
        self.elsewhere.rename(self.folder)


@pytest.fixture
def share(ward):
    ward.spool = ward.spool / "spool"
    ward.spool.mkdir()
    return Share(ward.spool)


def seen(ward):
    return (ward.item(), ward.assessments(), ward.outbox())


def test_an_image_that_comes_before_the_spool_goes_is_raised_and_told_when_it_is_back(ward, share):
    image = ward.receive(columns=65)
    claimed = ward.worklist.claim_images("w1", ward.clock(), LEASE, 10)
    before = seen(ward)
    share.goes()
    with pytest.raises(ModelUnavailableError, match="cannot be read \\(FileNotFoundError\\); is its disk"):
        ward.pipeline.score_images(claimed)
    assert seen(ward) == before
    assert (ward.assessments()[image], ward.told.flagged) == (None, 0)
    share.comes_back()
    ward.pipeline.score_images(claimed)
    assert (ward.item().priority, ward.told.flagged) == (Priority.URGENT, 1)
    assert ("hl7-oru", "ris") in ward.outbox()


def test_a_spool_that_goes_between_score_and_flag_raises_nothing_that_nobody_is_told_of(ward, share):
    ward.receive(columns=65)
    claimed = ward.worklist.claim_images("w1", ward.clock(), LEASE, 10)
    score = ward.scorer.score
    ward.scorer.score = lambda images, anatomies=(): (share.goes(), score(images))[1]
    before = seen(ward)
    with pytest.raises(ModelUnavailableError):
        ward.pipeline.score_images(claimed)
    assert seen(ward) == before
    share.comes_back()
    ward.scorer.score = score
    ward.pipeline.score_images(claimed)
    assert ward.item().priority is Priority.URGENT
    assert ("hl7-oru", "ris") in ward.outbox()


@pytest.mark.parametrize("scored_before", [False, True])
def test_a_study_waits_for_the_spool_however_often_it_is_tried_and_is_decided_then(ward, share, scored_before):
    ward.receive(columns=65)
    if scored_before:
        ward.score_images()
    claimed = ward.claimed()
    share.goes()
    for _ in range(MAX_ATTEMPTS + 1):
        with pytest.raises(ModelUnavailableError):
            ward.pipeline.decide_study(claimed, "w1")
        ward.worklist.give_back("w1", ward.clock(), counted=False)
        assert ward.item().status is Status.READY
        claimed = ward.worklist.claim_study("w1", ward.clock(), LEASE)
    ward.pipeline.check_model()
    share.comes_back()
    assert ward.pipeline.decide_study(claimed, "w1")
    assert (ward.item().status, ward.item().finding) == (Status.DECIDED, Finding.ABNORMAL)
    assert {"pacs", "ris"} <= {to for _, to in ward.outbox()}


def test_one_file_that_is_gone_from_a_spool_that_is_there_sends_its_study_to_a_human(ward, share):
    image = ward.receive(columns=65)
    (share.folder / f"{image}.dcm").unlink()
    with capture_logs():
        assert ward.decide()
    assert ward.item().status is Status.NEEDS_HUMAN
    assert ward.assessments()[image].outcome is Outcome.FAILED


def test_a_mount_point_without_its_disk_is_an_absent_spool(tmp_path):
    image = tmp_path / "incoming" / "ab" / "study" / "image.dcm"
    image.parent.mkdir(parents=True)
    loader = SpoolLoader(DirectLoader(), tmp_path)
    for read in (loader.load, loader.header):
        with pytest.raises(Exception, match="not a readable DICOM file"):
            read(image)
    shutil.rmtree(tmp_path / "incoming")
    for read in (loader.load, loader.header):
        with pytest.raises(DecoderUnavailableError, match="incoming cannot be read"):
            read(image)
