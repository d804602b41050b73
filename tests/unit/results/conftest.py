from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydicom import Dataset
from support import story

from triage_agent.domain.hl7_form import USUAL_FORM
from triage_agent.domain.study import Assessment, StoredInstance
from triage_agent.domain.vocabulary import Outcome, Priority
from triage_agent.results.context import ResultContext

STUDY = "1.2.3.4"
DX = "1.2.840.10008.5.1.4.1.1.1.1"


@pytest.fixture(scope="session")
def header():
    def header(number=1, **values):
        dataset = Dataset()
        dataset.SOPClassUID = DX
        dataset.SOPInstanceUID = f"{STUDY}.1.{number}"
        dataset.SeriesInstanceUID = f"{STUDY}.1"
        dataset.StudyInstanceUID = STUDY
        dataset.PatientName = "Lind^Eva"
        dataset.PatientID = "P1"
        dataset.IssuerOfPatientID = "HOSP"
        dataset.PatientBirthDate = "19700203"
        dataset.PatientSex = "F"
        dataset.StudyDate = "20260301"
        dataset.StudyTime = "081500"
        dataset.AccessionNumber = "A1"
        dataset.StudyID = "S1"
        dataset.ReferringPhysicianName = "Ek^Bo"
        dataset.ImageLaterality = "L"
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        return dataset

    return header


@pytest.fixture(scope="session")
def stored():
    def stored(number, series_instance_uid):
        """The instance of `header(number)` as intake has kept it."""
        return StoredInstance(
            sop_instance_uid=f"{STUDY}.1.{number}",
            series_instance_uid=series_instance_uid,
            sop_class_uid=DX,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            path="one.dcm",
            received_at=datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
        )

    return stored


@pytest.fixture(scope="session")
def model():
    return replace(story.MODEL, name="embedded", digest="0f" * 32)


@pytest.fixture(scope="session")
def decision(model):
    return story.decision(
        STUDY,
        revision=2,
        at=datetime(2026, 3, 1, 9, 30, 5, 250_000, UTC),
        probability=0.912345678,
        reasons=("Two of two.", "A rule."),
        model=model,
    )


@pytest.fixture(scope="session")
def flag(model):
    return story.flag(
        STUDY,
        revision=2,
        image=f"{STUDY}.1.1",
        at=datetime(2026, 3, 1, 9, 29, tzinfo=UTC),
        probability=0.97,
        priority=Priority.STAT,
        acr_category="1",
        reasons=("One image.",),
        anatomy=None,
        model=model,
    )


@pytest.fixture(scope="session")
def context(decision, header):
    """A decision's context; keywords change the decision, `headers`, `assessments` or the context itself."""

    def context(
        headers=None, assessments=None, result=None, institution="St. Göran", form=USUAL_FORM, previous=None, **changes
    ):
        headers = [header(1), header(2)] if headers is None else headers
        if assessments is None:
            assessments = [
                Assessment(
                    sop_instance_uid=str(one.SOPInstanceUID),
                    outcome=Outcome.SCORED,
                    probability=0.9 + index / 100,
                    anatomy="XR_KNEE",
                )
                for index, one in enumerate(headers)
            ]
        return ResultContext(
            result=result or replace(decision, **changes),
            headers=tuple(headers),
            assessments=tuple(assessments),
            institution=institution,
            software_version="9.8.7",
            form=form,
            previous=previous,
        )

    return context
