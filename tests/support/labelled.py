"""A small radiograph with pixels, and a reader's word about one."""

from datetime import UTC, datetime

import numpy as np
from support.instances import dx

from triage_agent.domain.feedback import Feedback, Said, Verdict
from triage_agent.domain.vocabulary import Finding

AT = datetime(2026, 3, 1, tzinfo=UTC)  # a Sunday


def image(**values):
    made = dx(
        ImageType=["ORIGINAL", "PRIMARY"],
        BodyPartExamined="KNEE",
        Rows=2,
        Columns=3,
        BitsAllocated=16,
        BitsStored=12,
        HighBit=11,
        PixelRepresentation=0,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        **values,
    )
    made.add_new("PixelData", "OW", np.arange(6, dtype=np.uint16).tobytes())
    return made


def word(number=1, verdict=Verdict.AGREE, finding=Finding.ABNORMAL, study="1.2.1", reader="ada", **said):
    values = {"revision": 1, "probability": 0.8, "region": "XR_KNEE", "bundle": "b 1", "rule": "abnormal", **said}
    return Feedback(
        number=number,
        study_instance_uid=study,
        reader=reader,
        verdict=verdict,
        note="Jane Doe",
        at=AT,
        said=Said(finding=finding, **values),
    )
