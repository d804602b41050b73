"""Images that come twice, late, mixed with other studies', or not in order, over several associations at once."""

import random
import threading

import pytest
from support.faultsite import FaultAgent, Peers, all_delivered
from support.trials import SEED
from support.verdict import Watch, judge
from support.xrays import send

_ASSOCIATIONS = 4
_TIMES = 3  # that each image is sent


@pytest.fixture
def peers():
    with Peers() as both:
        yield both


@pytest.fixture
def agent(launcher, tmp_path, peers):
    made = FaultAgent(tmp_path / "agent", launcher, **peers.ports).start(wait=True)
    yield made
    made.close()


def test_images_that_come_thrice_in_any_order_over_several_associations_are_each_taken_once(agent, peers, images):
    chance, watch, answers = random.Random(SEED), Watch(), []
    studies = [images.study(probability, 4) for probability in (0.03, 0.6, 0.97, 0.6)]
    everything = [image for study in studies for image in study]
    orders = [chance.sample(everything, len(everything)) for _ in range(_TIMES)]
    parts = [[] for _ in range(_ASSOCIATIONS)]
    for number, image in enumerate(image for order in orders for image in order):
        parts[number % _ASSOCIATIONS].append(image)

    def send_part(part):
        answers.append(send(agent.port, *part))

    senders = [threading.Thread(target=send_part, args=[part]) for part in parts]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert {status for each in answers for status in each.values()} == {0x0000}
    items = all_delivered(agent, studies, look=watch)
    assert {item["instances"] for item in items} == {4}
    acknowledged = {str(image.SOPInstanceUID): image for image in everything}
    verdict = judge(agent, studies, acknowledged, peers, watch)
    assert verdict, verdict
    for study in studies:
        actions = agent.actions(study[0].StudyInstanceUID)
        assert actions.count("instance_duplicate") == 4 * (_TIMES - 1)


def test_late_images_open_a_revision_with_a_report_of_its_own_and_never_lower_its_study(agent, peers, images):
    watch = Watch()
    early = images.study(0.97, 3)
    send(agent.port, *early[:1])
    all_delivered(agent, [early], look=watch)
    calm = images.study(0.03, 2, RequestedProcedurePriority="LOW")
    for late in calm:
        late.StudyInstanceUID = early[0].StudyInstanceUID
    send(agent.port, *early[1:], *calm)
    (item,) = all_delivered(agent, [early], look=lambda items: None)
    while item["instances"] < 5 or item["status"] != "delivered":
        (item,) = all_delivered(agent, [early], look=watch)
    assert (item["priority"], item["revision"] > 1) == ("urgent", True)
    study = [*early, *calm]
    verdict = judge(agent, [study], {str(image.SOPInstanceUID): image for image in study}, peers, watch)
    assert verdict, verdict
    assert peers.pacs.reports()[str(early[0].StudyInstanceUID)] == item["revision"]
