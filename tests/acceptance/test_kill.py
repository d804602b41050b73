"""kill -9 while studies arrive, are decided and are reported: nothing that was acknowledged is lost or done twice.

TRIAGE_FAULT_TRIALS and TRIAGE_FAULT_STUDIES make it long: `TRIAGE_FAULT_TRIALS=15 TRIAGE_FAULT_STUDIES=100`.
"""

import os
import random
import threading
import time
from collections import Counter

import pytest
from support.agent import eventually
from support.xrays import radiograph, send

TRIALS = int(os.environ.get("TRIAGE_FAULT_TRIALS", "3"))
STUDIES = int(os.environ.get("TRIAGE_FAULT_STUDIES", "12"))
ORDERED = ["routine", "urgent", "stat"]
_WAIT = 300 + 2 * STUDIES  # seconds

pytestmark = pytest.mark.timeout(_WAIT + 60 * TRIALS)


class Sender(threading.Thread):
    """A PACS that sends study after study, an association each, and keeps what was not acknowledged."""

    def __init__(self, port, images, acknowledged):
        super().__init__(daemon=True)
        self._port = port
        self._images = images
        self._acknowledged = acknowledged
        self.first = threading.Event()

    def run(self):
        for image in self._images:
            answers = send(self._port, image)
            if answers.get(image.SOPInstanceUID) == 0x0000:
                self._acknowledged[image.SOPInstanceUID] = image
                self.first.set()
        self.first.set()


class Watch:
    """The highest priority that each study was ever seen with."""

    def __init__(self, agent):
        self._agent = agent
        self._highest = {}

    def look(self):
        items = self._agent.worklist()
        for item in items:
            rank = ORDERED.index(item["priority"])
            assert rank >= self._highest.get(item["study_instance_uid"], 0), f"lowered: {item}"
            assert rank >= ORDERED.index(item["priority_at_arrival"])
            self._highest[item["study_instance_uid"]] = rank
        return items


def test_nothing_acknowledged_is_lost_or_reported_twice_when_the_agent_is_killed(agent, pacs, alarming_bundle):
    chance = random.Random(7)
    priorities = (None, "HIGH", "STAT")
    images = [radiograph(seed=n) for n in range(STUDIES)]
    for number, image in enumerate(images):
        if priority := priorities[number % 3]:
            image.RequestedProcedurePriority = priority
    running, acknowledged = agent(bundle=alarming_bundle, pacs_port=pacs.port, quiet=0.5, start=False), {}
    watch = Watch(running)

    for trial in range(TRIALS):
        running.start()
        watch.look()
        # A share of the studies each time, and what the last kill cost: late kills find early studies in every state.
        share = images[: (trial + 1) * STUDIES // TRIALS]
        sender = Sender(running.port, [one for one in share if one.SOPInstanceUID not in acknowledged], acknowledged)
        sender.start()
        sender.first.wait(60)
        time.sleep(chance.uniform(0.05, 2.5))  # the moment of the kill is what is tried
        watch.look()
        running.kill()
        sender.join(90)
        assert not sender.is_alive()

    running.start()
    watch.look()
    Sender(running.port, [one for one in images if one.SOPInstanceUID not in acknowledged], acknowledged).run()
    assert acknowledged.keys() == {image.SOPInstanceUID for image in images}

    def all_delivered():
        items = watch.look()
        return items if len(items) == STUDIES and all(item["status"] == "delivered" for item in items) else None

    items = eventually(all_delivered, _WAIT, every=0.5)
    assert {item["study_instance_uid"] for item in items} == {image.StudyInstanceUID for image in images}
    assert {item["instances"] for item in items} == {1}
    assert {item["revision"] for item in items} == {1}
    reports = Counter(each.StudyInstanceUID for each in pacs.objects if each.get("Modality") == "SR")
    assert reports == Counter(image.StudyInstanceUID for image in images)


def test_images_are_kept_when_the_agent_is_killed_in_the_middle_of_an_association(agent, pacs, calm_bundle):
    running, acknowledged = agent(bundle=calm_bundle, pacs_port=pacs.port, quiet=30, role="listener"), {}
    study = radiograph().StudyInstanceUID
    images = [radiograph(seed=n, study=study) for n in range(40)]

    def send_all():
        acknowledged.update(send(running.port, *images))

    sender = threading.Thread(target=send_all, daemon=True)
    sender.start()
    eventually(lambda: (running.item(study) or {"instances": 0})["instances"] >= 5, every=0.01)
    running.kill()
    sender.join(90)
    assert len(acknowledged) >= 5
    assert set(acknowledged.values()) == {0x0000}
    running.start()
    kept = {one["sop_instance_uid"] for one in running.study(study)["instances"]}
    assert acknowledged.keys() <= kept
