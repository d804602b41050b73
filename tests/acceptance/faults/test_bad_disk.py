"""The disk is full at every write, or fails to sync: nothing is acknowledged that is not there, and it passes."""

import errno
import random

import pytest
from support.faultsite import FaultAgent, Images, Modality
from support.powerloss import GROWS, SYNCS
from support.trials import SEED, TRIALS, Lane, finish
from support.verdict import Verdict
from support.xrays import send

_MOST_CALLS = 200  # of one image; there are some dozen
_BURSTS = 20  # of calls that fail, in a life

pytestmark = [pytest.mark.external, pytest.mark.timeout(300 + TRIALS)]

SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700


@pytest.fixture
def listener(disk_launcher, disk, tmp_path):
    made = FaultAgent(tmp_path / "agent", disk_launcher, role="listener", data_dir=disk.root / "var", disk=disk)
    made.config.write_text(made.config.read_text() + '\n[[dicom.peers]]\nname = "pacs"\nae_title = "PACS"\n')
    with made.config.open("a") as file:
        file.write('host = "127.0.0.1"\nport = 104\nmay = ["store"]\n')
    yield made.start(wait=True)
    made.close()


def sent(agent, image):
    return send(agent.port, image)[image.SOPInstanceUID]


# Which calls fail, how, and how many: one, or (0) all until there is room again. The short form tries every other one.
_TROUBLES = [
    pytest.param(GROWS, errno.ENOSPC, False, 0, id="full until there is room again"),
    pytest.param(GROWS, errno.ENOSPC, False, 1, id="full for one call"),
    pytest.param(GROWS, errno.ENOSPC, True, 1, id="full in the middle of a write"),
    pytest.param(GROWS, errno.ENOSPC, True, 0, id="full from the middle of a write on"),
    pytest.param(SYNCS, errno.EIO, False, 1, id="one sync fails"),
    pytest.param(SYNCS, errno.EIO, False, 0, id="no sync succeeds"),
]


@pytest.mark.parametrize(("kinds", "error", "shorten", "length"), _TROUBLES if TRIALS else _TROUBLES[::2])
def test_an_image_is_refused_and_then_taken_whichever_call_fails(listener, disk, images, kinds, error, shorten, length):
    acknowledged, refused, number = {}, 0, 0
    while number < _MOST_CALLS:
        number += 1
        (image,) = images.study(0.6)
        disk.fail(kinds, error, first=number, length=length, shorten=shorten)
        status = sent(listener, image)
        calls = disk.count
        disk.mend()
        assert status in {SUCCESS, OUT_OF_RESOURCES}
        refused += status == OUT_OF_RESOURCES
        if status == OUT_OF_RESOURCES:
            assert sent(listener, image) == SUCCESS  # there is room again: the sender's retry, without a restart
        acknowledged[str(image.SOPInstanceUID)] = image
        if calls < number:
            break  # no call of that number any more: each of an image's calls has failed once
    assert calls < number
    assert refused >= 3
    listener.kill()
    disk.cut()
    listener.start(wait=True)
    verdict = Verdict()
    for uid, image in acknowledged.items():
        kept = listener.study(image.StudyInstanceUID)
        if kept is None or [one["sop_instance_uid"] for one in kept["instances"]] != [uid]:
            verdict.lost.append(uid)
    listener.forget()
    assert verdict, verdict
    assert list((disk.root / "var" / "spool" / "tmp").iterdir()) == []


def test_a_whole_site_comes_through_a_disk_that_is_full_now_and_then(disk_launcher, disk, tmp_path):
    chance = random.Random(SEED)
    studies = Images(tmp_path).mixture(6)
    lane = Lane(tmp_path, disk_launcher)
    with lane.peers:
        agent = lane.agent(data_dir=disk.root / "var", disk=disk).start(wait=True)
        modality = Modality(agent.port, studies, pause=0.1)
        modality.start()
        for _ in range(_BURSTS):
            kinds, error = chance.choice([(GROWS, errno.ENOSPC), (SYNCS, errno.EIO)])
            disk.fail(kinds, error, first=chance.randint(1, 10), length=chance.randint(1, 10))
            modality.join(0.2)
        disk.mend()
        outcome = finish(agent, studies, modality, lane.peers)
    assert outcome.verdict, outcome.verdict
    assert set(modality.refused) <= {OUT_OF_RESOURCES}
