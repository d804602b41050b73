"""What systems do that wait until a study is quiet before they look at it: measured of Orthanc, cited of mercure."""

import json
import time

from pydicom import dcmread
from pydicom.uid import generate_uid
from support.arrivals import send_timed
from support.flagbench import shape
from support.orthanc import orthanc_server

_LOOK_SECONDS = 0.05
_PATIENCE_SECONDS = 60.0  # beyond the quiet period
DOCUMENTED = {
    "orthanc": {
        "seconds": 60,
        "what": 'StableAge: "Number of seconds without receiving any instance before a patient, a study or a series is '
        'considered as stable"',
        "source": "orthanc.json as Debian ships it; https://orthanc.uclouvain.be/book/faq/features.html#stable-resources",
    },
    "mercure": {
        "seconds": 60,
        "what": 'series_complete_trigger: "Time after arrival of last slice when series is considered complete (sec)"',
        "source": "https://github.com/mercure-imaging/mercure: docs/advanced.rst, default in common/config.py",
    },
}


def stable_study_waits(folder, pairs, *, studies, images, stable_age):
    """Seconds from the last byte of a study's first image until Orthanc says that the study is stable.

    That event (`StableStudy` in /changes, `OnStableStudy` to plug-ins) is the first at which a study can be looked at
    as one; nothing is scored here. Studies follow each other closely, each on an association of its own.
    """
    with orthanc_server(folder, stable_age=stable_age) as orthanc:
        ended = {}
        for number in range(studies):
            uid, moment = _send(orthanc.port, pairs[number % len(pairs)], images)
            ended[uid] = moment
        stable = _until_stable(orthanc, len(ended), stable_age + _PATIENCE_SECONDS)
        version = json.loads(orthanc.ask("system"))["Version"]
    waits = [stable[uid] - ended[uid] for uid in ended]
    return {
        "version": version,
        "stable_age_s": stable_age,
        "studies": studies,
        "wait_s": shape(waits),
        "waits_s": sorted(round(wait, 3) for wait in waits),
    }


def _send(port, pair, images):
    data_sets = [dcmread(pair.raising), *(dcmread(pair.calm) for _ in range(images - 1))]
    study = generate_uid()
    for one in data_sets:
        one.StudyInstanceUID, one.SOPInstanceUID = study, generate_uid()
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.PatientID = "P1"
    return str(study), send_timed(port, data_sets, called="PACS")[0]


def _until_stable(orthanc, studies, seconds):
    """{Study Instance UID: time.time() when its change was seen}."""
    found, last, deadline = {}, 0, time.monotonic() + seconds
    while len(found) < studies:
        assert time.monotonic() < deadline, f"{len(found)} of {studies} studies are stable"
        told = json.loads(orthanc.ask(f"changes?since={last}&limit=100"))
        at, last = time.time(), told["Last"]
        for change in told["Changes"]:
            if change["ChangeType"] == "StableStudy":
                study = json.loads(orthanc.ask(f"studies/{change['ID']}"))
                found[study["MainDicomTags"]["StudyInstanceUID"]] = at
        if told["Done"]:
            time.sleep(_LOOK_SECONDS)
    return found
