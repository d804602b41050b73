"""Orders as a hospital has them: told of before or after the images, and asked for by modalities."""

import json

import pytest
from support.agent import eventually, free_port
from support.hl7 import Ris, merge, omi, said
from support.ordering import find, query
from support.xrays import radiograph, send


@pytest.fixture(scope="module")
def hospital(shared_agent, calm_bundle, shared_pacs):
    listen = free_port()
    tables = f'[hl7.listen]\nport = {listen}\nnetworks = ["127.0.0.1/32"]\nreissue_after_merge = true\n'
    agent = shared_agent(bundle=calm_bundle, pacs_port=shared_pacs.port, tables=tables, log_format="json")
    agent.hl7_port = listen
    return agent


def tell(hospital, *messages):
    with Ris(hospital.hl7_port) as ris:
        return [said(ris.send(message)) for message in messages]


def about(accession, uid="", control_id="M1"):
    """An order that is stat, of the patient that `radiograph` makes."""
    ids = {b"|A1|": f"|{accession}|", b"|F1|": f"|F{accession}|", b"|PL1|": f"|P{accession}|", b"|1.2.3|": f"|{uid}|"}
    message = omi("PID|||PAT^^^ADT^MR||Doe^Jane||19700301|F", control_id=control_id)
    for before, after in ids.items():
        message = message.replace(before, after.encode())
    return message


def test_an_order_before_its_images_gives_the_study_its_priority_from_the_first_image(hospital):
    assert tell(hospital, about("B1")) == [("AA", "M1", "")]
    image = radiograph(seed=1, AccessionNumber="B1", PatientID="PAT")
    send(hospital.port, image)
    (item,) = hospital.settled(image.StudyInstanceUID)
    assert (item["priority_at_arrival"], item["priority"]) == ("stat", "stat")
    assert "order_matched" in hospital.actions(image.StudyInstanceUID)


def test_an_order_after_its_images_raises_the_study_whatever_became_of_it(hospital):
    image = radiograph(seed=2, AccessionNumber="B2", PatientID="PAT")
    send(hospital.port, image)
    (item,) = hospital.settled(image.StudyInstanceUID)
    assert item["priority"] != "stat"
    assert tell(hospital, about("B2")) == [("AA", "M1", "")]
    detail = json.loads(hospital.cli("study", image.StudyInstanceUID, "--json").stdout)
    assert detail["item"]["priority"] == "stat"
    assert detail["reasons"][-1] == "Its order (message M1 of RIS^HOSPITAL) asks for stat."


def test_the_worklist_shows_what_is_known_with_the_priority_as_raised(hospital):
    image = radiograph(seed=3, AccessionNumber="B3", PatientID="PAT")
    send(hospital.port, image)
    hospital.settled(image.StudyInstanceUID)
    tell(hospital, about("B3", image.StudyInstanceUID), about("B4"))
    asked = query(PatientName="*", AccessionNumber="", StudyInstanceUID="", RequestedProcedurePriority="")
    _, answers = find(hospital.port, asked, calling="PACS")
    shown = {
        str(each.AccessionNumber): (str(each.StudyInstanceUID), each.RequestedProcedurePriority) for each in answers
    }
    assert shown["B3"] == (image.StudyInstanceUID, "STAT")
    assert shown["B4"] == ("", "STAT")


def test_a_merge_renames_the_patient_on_the_worklist(hospital):
    image = radiograph(seed=4, AccessionNumber="B5", PatientID="GONE")
    send(hospital.port, image)
    hospital.settled(image.StudyInstanceUID)
    merged = merge(pid="PID|||KEPT^^^ADT^MR||Roe^Jane", mrg="MRG|GONE^^^ADT^MR")
    assert tell(hospital, merged) == [("AA", "M2", "")]
    item = hospital.item(image.StudyInstanceUID)
    assert (item["patient_id"], item["patient_name"]) == ("KEPT", "Roe^Jane")
    assert "patient_merged" in hospital.actions(image.StudyInstanceUID)


def test_a_merge_after_the_decision_makes_the_report_again_for_the_other_patient(hospital, shared_pacs):
    image = radiograph(seed=5, AccessionNumber="B6", PatientID="WRONG")
    send(hospital.port, image)
    hospital.settled(image.StudyInstanceUID)

    def reports():
        return [each for each in shared_pacs.objects if each.StudyInstanceUID == image.StudyInstanceUID]

    assert [report.PatientID for report in reports()] == ["WRONG"]
    tell(hospital, merge(pid="PID|||RIGHT^^^ADT^MR||Roe^Jane", mrg="MRG|WRONG^^^ADT^MR"))
    first, second = eventually(lambda: reports() if len(reports()) == 2 else None)
    assert (second.PatientID, second.PatientName) == ("RIGHT", "Roe^Jane")
    (before,) = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert before.ReferencedSOPInstanceUID == first.SOPInstanceUID
    (item,) = hospital.settled(image.StudyInstanceUID)
    assert (item["revision"], item["patient_id"]) == (2, "RIGHT")


def test_what_is_known_can_be_read_by_people_and_programs(hospital):
    tell(hospital, about("B9"))
    (order,) = [one for one in json.loads(hospital.cli("orders", "--json").stdout) if one["accession_number"] == "B9"]
    assert (order["priority"], order["status"], order["patient_class"], order["study_here"]) == (
        "stat",
        "scheduled",
        "E",
        "",
    )
    assert "B9" in hospital.cli("orders").stdout


def test_orders_survive_a_killed_agent_and_no_patient_is_in_the_log(hospital):
    tell(hospital, about("B7"))
    hospital.kill()
    hospital.start()
    assert "B7" in hospital.cli("orders", "--json").stdout
    assert "Doe" not in hospital.log_text
    assert "GONE" not in hospital.log_text
