"""A late image of a study whose earlier originals the site's retention has deleted."""

from dataclasses import replace
from io import BytesIO

import pytest
from pydicom import dcmread
from support.story import MODEL

from triage_agent.domain.vocabulary import Finding, Status


def retired(ward, *columns):
    """A delivered study of such images, without their files; returns their UIDs."""
    uids = [ward.receive(columns=each) for each in columns]
    ward.decide()
    while deliveries := ward.worklist.claim_deliveries("s", ward.clock(), ward.now - ward.now, 10):
        for delivery in deliveries:
            ward.worklist.delivery_sent(delivery, ward.clock())
    assert ward.item().status is Status.DELIVERED
    before = ward.clock()
    for path in ward.worklist.forget_originals("1.2.1", before, before):
        (ward.spool / path).unlink()
    ward.worklist.originals_gone("1.2.1", ward.clock())
    return uids


def test_it_is_decided_with_the_scores_that_were_kept_and_says_so(ward):
    retired(ward, 64, 65)
    ward.receive(columns=66)
    ward.scorer.batches.clear()
    assert ward.decide()
    assert ward.scorer.batches == [[66]]
    item = ward.item()
    assert (item.status, item.revision) == (Status.DECIDED, 2)
    assert item.probability == pytest.approx((0.1 + 0.95 + 0.4) / 3)
    (said,) = [reason for reason in ward.worklist.study("1.2.1").reasons if "originals of 2 of 3 images" in reason]
    assert "2026-03-01" in said


def test_its_report_refers_to_what_can_be_looked_at(ward):
    first = retired(ward, 64)
    late = ward.receive(columns=66)
    ward.decide()
    sent = ward.worklist.claim_deliveries("s", ward.clock(), ward.now - ward.now, 10, ["pacs"])
    report = dcmread(BytesIO(sent[0].artifact.body))
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert [item.ReferencedSOPInstanceUID for item in evidence.ReferencedSOPSequence] == [late]
    assert first[0] not in str(report)
    (predecessor,) = report.PredecessorDocumentsSequence  # its bytes went with the originals, and not what names it
    ((reference,),) = (series.ReferencedSOPSequence for series in predecessor.ReferencedSeriesSequence)
    assert reference.ReferencedSOPInstanceUID != report.SOPInstanceUID


def test_it_needs_a_human_where_another_bundle_made_the_scores_that_were_kept(ward):
    retired(ward, 64)
    ward.scorer.identity = replace(MODEL, digest="e" * 64)
    ward.receive(columns=66)
    assert ward.decide()
    item = ward.item()
    assert (item.status, item.finding) == (Status.NEEDS_HUMAN, Finding.NOT_ASSESSED)
    assert "its original has been deleted" in item.status_reason
