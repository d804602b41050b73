"""A hospital with two RISs: each is told in its own form that a study was raised, and not troubled where none was."""

import pytest
from support.agent import eventually
from support.xrays import radiograph, send

from triage_agent.simulation.ris import SimulatedRis

_TABLES = """
[[hl7.peers]]
name = "old"
host = "127.0.0.1"
port = {old}
version = "2.3.1"
charset = "8859/1"
receiving_application = "OLDRIS"
[hl7.peers.fields]
"OBR-4" = "XR^{{region}}^L"
"PV1-2" = "O"
[[routes]]
to = "old"
send = ["hl7-orm"]

[[hl7.peers]]
name = "new"
host = "127.0.0.1"
port = {new}
acknowledgement = "accept"
[[routes]]
to = "new"
send = ["hl7-oru", "hl7-omi"]
"""


@pytest.fixture
def two_ris():
    started = [SimulatedRis(), SimulatedRis()]
    for ris in started:
        ris.start()
    yield started
    for ris in started:
        ris.stop()


def kinds(ris):
    return [message.split("|")[8] for message in ris.messages]


def segments(message):
    return {line.split("|")[0]: line.split("|") for line in message.split("\r")}


def test_each_ris_is_told_of_a_raise_in_its_own_form(agent, alarming_bundle, pacs, two_ris):
    old, new = two_ris
    running = agent(bundle=alarming_bundle, pacs_port=pacs.port, tables=_TABLES.format(old=old.port, new=new.port))
    image = radiograph(seed=1, AccessionNumber="ACC7", PatientName="Gr\u00f6n^Eva", Modality="DX")
    assert list(send(running.port, image).values()) == [0x0000]
    eventually(
        lambda: len(old.messages) == 1 and kinds(new).count("ORU^R01^ORU_R01") >= 1 and "OMI^O23^OMI_O23" in kinds(new)
    )
    running.settled(image.StudyInstanceUID)

    assert kinds(old) == ["ORM^O01^ORM_O01"]
    order = segments(old.messages[0])
    assert (order["MSH"][4], order["MSH"][11], order["MSH"][17]) == ("OLDRIS", "2.3.1", "8859/1")
    assert (order["ORC"][1], order["ORC"][3], order["ORC"][7]) == ("XO", "ACC7", "^^^^^A")
    assert (order["OBR"][4], order["OBR"][27], order["PV1"][2]) == ("XR^XR_KNEE^L", "^^^^^A", "O")
    assert order["ZDS"][1].split("^")[0] == image.StudyInstanceUID

    assert kinds(new).count("OMI^O23^OMI_O23") == 1
    imaging = segments(new.messages[kinds(new).index("OMI^O23^OMI_O23")])
    assert (imaging["TQ1"][9], imaging["IPC"][1]) == ("A^ASAP^HL70485", "ACC7")
    assert imaging["IPC"][3] == image.StudyInstanceUID
    assert (imaging["MSH"][14], imaging["MSH"][15]) == ("AL", "NE")
    assert {row["state"] for row in running.study(image.StudyInstanceUID)["deliveries"]} == {"sent"}


def test_a_study_that_is_not_raised_changes_no_order(agent, calm_bundle, pacs, two_ris):
    old, new = two_ris
    running = agent(bundle=calm_bundle, pacs_port=pacs.port, tables=_TABLES.format(old=old.port, new=new.port))
    image = radiograph(seed=2)
    send(running.port, image)
    running.settled(image.StudyInstanceUID)
    assert (kinds(old), kinds(new)) == ([], ["ORU^R01^ORU_R01"])
