"""Which HL7 messages a study's course gives rise to, and in which form each destination gets them."""

from datetime import timedelta

import pytest

from triage_agent.domain.decision import Route
from triage_agent.domain.hl7_form import Hl7Form
from triage_agent.domain.vocabulary import ArtifactKind, Priority, Status

ORU, OMI, ORM = ArtifactKind.HL7_ORU, ArtifactKind.HL7_OMI, ArtifactKind.HL7_ORM


@pytest.fixture
def ordering(ward):
    """A RIS that takes orders only."""
    ward.routes = [Route(to="ris", send=(OMI, ORM))]
    return ward


def sent(ward, study="1.2.1"):
    """What is waiting to be sent, as its messages' bodies by kind and destination."""
    claimed = ward.worklist.claim_deliveries("s", ward.clock(), timedelta(seconds=30), 10)
    assert all(one.study_instance_uid == study for one in claimed)
    return {(one.artifact.kind, one.destination): one.artifact.body.decode() for one in claimed}


def test_a_decision_that_raises_changes_the_order(ordering):
    ordering.receive(columns=65)
    ordering.decide()
    assert ordering.item().priority is Priority.URGENT
    assert ordering.outbox() == [("hl7-omi", "ris"), ("hl7-orm", "ris")]


def test_a_decision_that_leaves_the_priority_leaves_the_order(ordering):
    ordering.receive(columns=64)
    ordering.decide()
    assert (ordering.item().priority, ordering.outbox()) == (Priority.ROUTINE, [])
    assert ordering.item().status is Status.DELIVERED  # there is nothing to wait for


@pytest.mark.parametrize("kind", [OMI, ORM, ArtifactKind.KOS])
def test_a_normal_study_of_which_a_route_has_nothing_to_say_is_not_left_decided(ward, kind):
    ward.routes = [Route(to="there", send=(kind,))]
    ward.receive(columns=64)
    ward.decide()
    assert (ward.item().status, ward.outbox()) == (Status.DELIVERED, [])


def test_without_routes_a_study_stays_decided(ward):
    ward.routes = []
    ward.receive(columns=64)
    ward.decide()
    assert ward.item().status is Status.DECIDED


def test_an_order_that_came_as_stat_is_not_changed(ordering):
    ordering.receive(columns=65, RequestedProcedurePriority="STAT")
    ordering.score_images()
    ordering.decide()
    assert (ordering.item().priority, ordering.outbox()) == (Priority.STAT, [])


def test_a_raise_is_told_once_at_the_flag_and_not_again_by_the_decision(ordering):
    ordering.receive(columns=65)
    ordering.score_images()
    assert ordering.outbox() == [("hl7-omi", "ris"), ("hl7-orm", "ris")]
    ordering.decide()
    assert len(ordering.outbox()) == 2


def test_a_raised_study_that_needs_a_human_changes_its_order(ordering):
    ordering.receive(columns=65)
    ordering.receive(broken=True)
    ordering.decide()
    assert ordering.outbox() == [("hl7-omi", "ris"), ("hl7-orm", "ris")]


def test_every_study_is_in_a_message_where_results_and_orders_go_to_one_ris(ward):
    ward.routes = [Route(to="ris", send=(ORU, OMI))]
    for study, columns in (("1.2.1", 64), ("1.2.2", 65)):
        ward.receive(study=study, columns=columns)
        ward.decide()
    assert ward.outbox("1.2.1") == [("hl7-oru", "ris")]
    assert ward.outbox("1.2.2") == [("hl7-oru", "ris"), ("hl7-omi", "ris")]


def test_each_destination_gets_its_own_form_and_those_of_one_form_the_same_object(ward):
    old = Hl7Form(version="2.3.1", receiving_application="OLD")
    ward.routes = [
        Route(to="new", send=(ORU,)),
        Route(to="old", send=(ORU,), form=old),
        Route(to="older", send=(ORU,), form=old),
    ]
    ward.receive()
    ward.decide()
    rows = {row.destination: row.uid for row in ward.worklist.study("1.2.1").deliveries}
    assert rows["old"] == rows["older"] != rows["new"]
    messages = {to: body.split("|")[11] for (_, to), body in sent(ward).items()}
    assert messages == {"new": "2.5.1", "old": "2.3.1", "older": "2.3.1"}


def test_a_form_is_of_no_concern_to_what_is_no_message(ward):
    ward.routes = [
        Route(to="pacs", send=(ArtifactKind.SR,)),
        Route(to="both", send=(ArtifactKind.SR, ORU), form=Hl7Form(version="2.4")),
    ]
    ward.receive()
    ward.decide()
    reports = {row.uid for row in ward.worklist.study("1.2.1").deliveries if row.kind is ArtifactKind.SR}
    assert len(reports) == 1


def test_a_second_decision_is_a_correction_where_the_first_was_final(ward):
    ward.routes = [Route(to="ris", send=(ORU,), form=Hl7Form(result_status="final"))]
    statuses = []
    for _ in range(2):
        ward.receive()
        ward.decide()
        (body,) = sent(ward).values()
        statuses.append(next(line for line in body.split("\r") if line.startswith("OBR")).split("|")[25])
        for delivery in ward.worklist.claim_deliveries("s", ward.now + timedelta(hours=1), timedelta(seconds=30), 10):
            ward.worklist.delivery_sent(delivery, ward.clock())
    assert statuses == ["F", "C"]
