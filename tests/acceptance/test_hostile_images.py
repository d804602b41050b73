"""An image that its reader cannot bear, sent to the agent as a PACS would: it has no score, and all else goes on."""

import os
import signal
import struct
from pathlib import Path

from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless
from support.agent import eventually
from support.xrays import radiograph, send

_LIMITS = "[worker]\nlease_seconds = 3\ndecode_seconds = 60\ndecode_memory_mb = 512\n"
_SIDE = 12_000  # pixels: 288 MB of image in 4 MB of runs


def bomb(study):
    """RLE whose header and runs agree on an image that is larger than the memory for it."""
    data_set = radiograph(seed=42, study=study)
    data_set.Rows = data_set.Columns = _SIDE
    run = b"\x81\x00" * (_SIDE * _SIDE // 128)
    segments = struct.pack("<16I", 2, 64, 64 + len(run), *[0] * 13)
    data_set.PixelData = encapsulate([segments + run + run])
    data_set["PixelData"].is_undefined_length = True
    data_set.file_meta.TransferSyntaxUID = RLELossless
    return data_set


def decoders(agent):
    """The process ids of the agent's decoders."""
    children = Path(f"/proc/{agent._process.pid}/task")
    found = [pid for task in children.iterdir() for pid in (task / "children").read_text().split()]
    return [int(pid) for pid in found if b"isolated.child" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_bomb_leaves_its_study_to_a_human_who_is_told_why_and_everybody_else_unharmed(agent, tiny_bundle):
    running = agent(bundle=tiny_bundle, pacs_port=104, sends=(), tables=_LIMITS)
    sound = radiograph(seed=41)
    hostile = bomb(sound.StudyInstanceUID)
    assert set(send(running.port, sound, hostile).values()) == {0x0000}
    (item,) = running.settled(sound.StudyInstanceUID)
    assert item["status"] == "needs_human"
    instances = running.study(sound.StudyInstanceUID)["instances"]
    reasons = {one["sop_instance_uid"]: one["assessment"]["reason"] for one in instances}
    assert "needs more than 512 MB of memory" in reasons[hostile.SOPInstanceUID]
    assert reasons[sound.SOPInstanceUID] == ""
    assert running.ready()
    (pid,) = decoders(running)
    os.kill(pid, signal.SIGKILL)  # idle: nobody's image is lost with it
    after = radiograph(seed=43)
    send(running.port, after)
    eventually(lambda: running.item(after.StudyInstanceUID)["probability"] is not None)
    left = decoders(running)
    assert left != [pid]
    assert running.stop() == 0
    assert not any(Path(f"/proc/{one}").exists() for one in left)
