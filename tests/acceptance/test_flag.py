"""The flag does not wait: a study that already shows an abnormality is raised while its images still arrive."""

import pytest
from support.agent import eventually
from support.xrays import radiograph, send

# The PACS can count the images of what it sent itself, and the agent asks it: those studies complete soon. Of what
# `send` sends nobody knows how much there is, so those stay open for a minute.
_QUIET = 60
_TABLES = f"""
[study]
quiet_seconds = {_QUIET}
ask_peer = "pacs"
ask_after_seconds = 0.5
ask_steady_seconds = 0.5
"""


@pytest.fixture(scope="module")
def hospital(shared_agent, shared_pacs, shared_ris, doubting_bundle):
    """Its model alerts on every image and calls no study abnormal: whatever the decision, the raise must stand."""
    return shared_agent(bundle=doubting_bundle, pacs_port=shared_pacs.port, ris_port=shared_ris.port, tables=_TABLES)


@pytest.fixture
def completed(hospital, shared_pacs):
    """Sends a study from the PACS that can count it; returns its line once it is delivered."""

    def send_whole(*data_sets):
        shared_pacs.send(data_sets, "127.0.0.1", hospital.port, "TRIAGE")
        (item,) = hospital.settled(data_sets[0].StudyInstanceUID)
        return item

    return send_whole


def messages_about(ris, image):
    return [message for message in ris.messages if image.StudyInstanceUID in message]


def test_a_study_is_raised_and_the_ris_told_while_its_images_still_arrive(hospital, shared_pacs, shared_ris):
    image = radiograph(seed=1)
    assert list(send(hospital.port, image).values()) == [0x0000]
    eventually(lambda: messages_about(shared_ris, image), _QUIET / 2)
    item = hospital.item(image.StudyInstanceUID)
    assert item["status"] == "receiving"
    assert (item["priority_at_arrival"], item["priority"], item["rule"]) == ("routine", "urgent", "alert")
    assert item["probability"] == pytest.approx(0.99, abs=1e-3)
    assert item["flagged_at"] is not None
    assert item["decided_at"] is None
    assert "priority_raised" in hospital.actions(image.StudyInstanceUID)
    assert not [each for each in shared_pacs.objects if each.StudyInstanceUID == image.StudyInstanceUID]


def test_the_message_of_a_raise_says_that_it_is_preliminary_and_how_urgent(hospital, shared_ris):
    image = radiograph(seed=2, AccessionNumber="ACC42")
    send(hospital.port, image)
    (message,) = eventually(lambda: messages_about(shared_ris, image), _QUIET / 2)
    segments = {line.split("|")[0]: line.split("|") for line in message.split("\r")}
    assert segments["MSH"][8] == "ORU^R01^ORU_R01"
    assert segments["OBR"][3] == "ACC42"
    assert segments["OBR"][25] == segments["OBX"][11] == "P"
    assert segments["TQ1"][9].split("^")[0] == "A"


def test_a_raise_survives_the_decision_that_does_not_call_the_study_abnormal(completed, hospital, shared_ris):
    image = radiograph(seed=3)
    item = completed(image)
    assert (item["status"], item["finding"]) == ("delivered", "uncertain")
    assert item["priority"] == "urgent"
    assert "Views disagree" in item["status_reason"]
    # The flag may have been raised before the decision, or have come with it; what it says is the same.
    assert 1 <= len(messages_about(shared_ris, image)) <= 2
    assert hospital.actions(image.StudyInstanceUID).count("priority_raised") == 1


def test_a_stat_order_stays_stat_and_is_not_flagged(completed, hospital):
    image = radiograph(seed=4, RequestedProcedurePriority="STAT")
    item = completed(image)
    assert (item["priority_at_arrival"], item["priority"]) == ("stat", "stat")
    assert item["flagged_at"] is None
    assert "priority_raised" not in hospital.actions(image.StudyInstanceUID)


def test_an_order_that_turns_stat_with_a_later_image_raises_the_study(completed):
    first = radiograph(seed=5)
    second = radiograph(seed=6, study=first.StudyInstanceUID, RequestedProcedurePriority="STAT")
    item = completed(first, second)
    assert item["priority"] == "stat"


def test_a_region_outside_the_bundle_raises_nothing(completed):
    item = completed(radiograph(seed=7, body_part="HIP"))
    assert (item["finding"], item["priority"]) == ("not_assessed", "routine")


def test_a_study_that_the_pacs_can_count_does_not_wait_for_the_quiet_period(completed, hospital):
    first = radiograph(seed=8)
    images = [first, radiograph(seed=9, study=first.StudyInstanceUID), radiograph(study=first.StudyInstanceUID)]
    item = completed(*images)
    assert item["instances"] == 3
    changes = [
        event for event in hospital.study(first.StudyInstanceUID)["audit"] if event["action"] == "status_changed"
    ]
    assert any("ready" in str(event["detail"]) for event in changes)
