"""No patient's name or number, and no accession number, reaches a log line, whatever happens to a study."""

import re

import pytest
from support.agent import eventually, free_port
from support.xrays import radiograph, send, truncated

from triage_agent.simulation import ris as simulated

NAME, NUMBER, ACCESSION = "Qlorbert^Zyxwina", "PIDX77131", "ACCX90417"
SECRETS = re.compile("qlorbert|zyxwina|pidx77131|accx90417", re.IGNORECASE)
PATIENT = {"PatientName": NAME, "PatientID": NUMBER, "AccessionNumber": ACCESSION}
# What pydicom warns of, with the value, unless it is kept from doing so.
INVALID = {
    "PatientName": "Qlorbert^b^c^d^e^f^g",
    "PatientID": NUMBER * 10,
    "AccessionNumber": ACCESSION * 3,
    "PatientBirthDate": "QLORBERT",
    "PatientSex": "Qlorbert",
    "PatientAge": NUMBER,
    "StudyDate": "QLORBERT",
    "StudyTime": NUMBER,
    "ReferringPhysicianName": "Qlorbert=a=b=c=d",
}
GIVE_UP = "[delivery]\nfirst_retry_seconds = 0.1\nlongest_retry_seconds = 0.1\ngive_up_after_hours = 0.0001\n"


def quoting(message):
    """An acknowledgement that repeats what it was sent, as some receivers do with what they do not understand."""
    control_id = message.split("|")[9]
    pid = message.split("\r")[1].replace("|", " ").replace("^", " ")
    return f"MSH|^~\\&|RIS|DEMO|TRIAGE|DEMO|20260301||ACK|X|P|2.5.1\rMSA|AR|{control_id}|bad {pid}\rERR||||E|||{pid}\r"


def secrets_in(running):
    return [line for line in running.log_text.splitlines() if SECRETS.search(line)]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_patients_whole_way_leaves_no_trace_of_who_it_was(
    agent, pacs, ris, reports, alarming_bundle, monkeypatch, log_format
):
    running = agent(
        bundle=alarming_bundle, pacs_port=pacs.port, ris_port=ris.port, tables=GIVE_UP, log_format=log_format
    )

    def settled(*images):
        send(running.port, *images)
        return running.settled(*(image.StudyInstanceUID for image in images))

    # Received, scored, raised, decided, delivered; then again, and again with other bytes.
    image = radiograph(**PATIENT)
    (item,) = settled(image)
    assert (item["status"], item["patient_name"], item["patient_id"]) == ("delivered", NAME, NUMBER)
    assert any(NUMBER in message for message in ris.messages)
    assert reports(image.StudyInstanceUID)[0].PatientName == NAME
    send(running.port, image)
    image.PatientBirthDate = "19700204"
    send(running.port, image)
    # Not decoded, out of scope, a region that the bundle does not know.
    settled(
        truncated(radiograph(**PATIENT)),
        radiograph(body_part="CHEST", StudyDescription=f"Thorax {NAME}", **PATIENT),
        radiograph(body_part="HIP", ProtocolName=NAME, **PATIENT),
        radiograph(PhotometricInterpretation="QLORBERT", BitsStored=99, **PATIENT),
        radiograph(**INVALID),
        radiograph(PatientComments=f"{NAME} " * 500, WindowCenter=["1", "2"], WindowWidth="1", **PATIENT),
    )
    # Refused: nobody's study, and identifiers that somebody typed a name into.
    assert list(send(running.port, radiograph(StudyInstanceUID=None, **PATIENT)).values()) == [0xA900]
    assert list(send(running.port, radiograph(StudyInstanceUID="QLORBERT", **PATIENT)).values()) == [0xA900]
    assert send(running.port, radiograph(**PATIENT), calling="STRANGER") == {}
    # Results that are not taken.
    pacs.out_of_resources = True
    monkeypatch.setattr(simulated, "acknowledge", quoting)
    unwanted = radiograph(**PATIENT)
    send(running.port, unwanted)
    eventually(lambda: running.actions(unwanted.StudyInstanceUID).count("delivery_dead") >= 2)
    assert running.stop() == 0

    for event in ("listening", "decided", "raised", "delivery", "store_refused", "association_rejected", "quarantined"):
        assert event in running.log_text
    assert image.StudyInstanceUID in running.log_text
    assert secrets_in(running) == []


def test_what_stands_in_the_place_of_an_instances_uid_is_not_repeated(agent, calm_bundle):
    running = agent(bundle=calm_bundle, role="listener", pacs_port=free_port())
    assert list(send(running.port, radiograph(SOPInstanceUID="QLORBERT.ZYXWINA")).values()) == [0xA900]
    assert secrets_in(running) == []
