"""What must hold after any fault, and what of it does not."""

import hashlib
import sqlite3
from dataclasses import dataclass, field, fields
from pathlib import Path

from pydicom import dcmread

from triage_agent.domain.vocabulary import Status
from triage_agent.intake.part10 import decode_preamble

ORDERED = ["routine", "urgent", "stat"]
_REQUESTED = {"HIGH": "urgent", "STAT": "stat"}


@dataclass
class Verdict:
    """What is wrong, by kind; all of it empty is what a trial has to show."""

    lost: list = field(default_factory=list)  # acknowledged instances that are not there as they were sent
    doubled: list = field(default_factory=list)  # objects that a peer has twice, or with two contents
    lowered: list = field(default_factory=list)  # priorities
    without_status: list = field(default_factory=list)  # studies that are nowhere, or have come to no end
    untold: list = field(default_factory=list)  # audit trails that do not tell what happened
    damaged: list = field(default_factory=list)  # databases
    uncommitted: list = field(default_factory=list)  # what one side was promised and the other does not know of
    unfetched: list = field(default_factory=list)  # images that are not, or not once, in their study's one decision

    def __bool__(self):
        """Whether nothing is wrong."""
        return not any(getattr(self, one.name) for one in fields(self))

    def counts(self):
        return {one.name: len(getattr(self, one.name)) for one in fields(self)}

    def add(self, other):
        for one in fields(self):
            getattr(self, one.name).extend(getattr(other, one.name))


class Watch:
    """The highest priority that each study was seen with while the trial went on."""

    def __init__(self):
        self.lowered = []
        self._highest = {}

    def __call__(self, items):
        for item in items:
            uid, rank = item["study_instance_uid"], ORDERED.index(item["priority"])
            if rank < self._highest.get(uid, 0):
                self.lowered.append(f"{uid}: {item['priority']} after {ORDERED[self._highest[uid]]}")
            self._highest[uid] = max(rank, self._highest.get(uid, 0))


def judge(agent, studies, acknowledged, peers, watch=None):
    """Look at everything that the agent and its peers have; every study was sent and should be delivered."""
    verdict = Verdict(lowered=list(watch.lowered) if watch else [])
    spool = Path(agent.data_dir) / "spool"
    for images in studies:
        uid = str(images[0].StudyInstanceUID)
        study = agent.study(uid)
        if study is None:
            verdict.without_status.append(uid)
            verdict.lost += [one for one in (str(image.SOPInstanceUID) for image in images) if one in acknowledged]
            continue
        _judge_instances(verdict, study, images, acknowledged, spool)
        _judge_life(verdict, study, images)
        _judge_reports(verdict, study, peers)
    verdict.doubled += peers.pacs.altered() + peers.ris.altered()
    _judge_database(verdict, agent)
    return verdict


def _judge_instances(verdict, study, images, acknowledged, spool):
    kept = {one["sop_instance_uid"]: one for one in study["instances"]}
    for image in images:
        uid = str(image.SOPInstanceUID)
        if uid not in acknowledged:
            continue
        if uid not in kept or not is_whole(spool / kept[uid]["path"], image):
            verdict.lost.append(uid)
    if len(kept) != study["item"]["instances"]:
        verdict.untold.append(f"{study['item']['study_instance_uid']}: counts other instances than it has")


def is_whole(file, image):
    """Whether a spool file is what was sent, and has the digest that its name says."""
    if not file.exists():
        return False
    whole = file.read_bytes()
    meta = decode_preamble(memoryview(whole))
    digest = hashlib.sha256(whole[meta.data_set_offset :]).hexdigest()
    return digest.startswith(file.stem.rpartition("-")[2]) and dcmread(file).PixelData == image.PixelData


def _judge_life(verdict, study, images):
    """Status and priority, now and as the audit trail tells of them."""
    item, events = study["item"], study["audit"]
    uid = item["study_instance_uid"]
    if item["status"] not in {Status.DELIVERED, Status.NEEDS_HUMAN, Status.OUT_OF_SCOPE}:
        verdict.without_status.append(f"{uid}: {item['status']}")
    asked = max((_REQUESTED.get(image.get("RequestedProcedurePriority"), "routine") for image in images), key=_rank)
    if min(_rank(item["priority"]), _rank(item["priority_at_arrival"])) < 0 or _rank(item["priority"]) < _rank(asked):
        verdict.lowered.append(f"{uid}: {item['priority']} though {asked} was asked for")
    raises = [one["detail"] for one in events if one["action"] == "priority_raised"]
    steps = [_rank(one[end]) for one in raises for end in ("from", "to")]
    if steps != sorted(steps):
        verdict.lowered.append(f"{uid}: {raises}")
    if steps and steps[-1] != _rank(item["priority"]):
        verdict.untold.append(f"{uid}: its priority is not the one of its trail")
    _judge_trail(verdict, study)


def _rank(word):
    return ORDERED.index(word)


def _judge_trail(verdict, study):
    item, events = study["item"], study["audit"]
    uid = item["study_instance_uid"]
    actions = [one["action"] for one in events]
    moves = [one["detail"] for one in events if one["action"] == "status_changed"]
    chain = ["receiving", *(one["to"] for one in moves)]
    if [one["from"] for one in moves] != chain[:-1] or chain[-1] != item["status"]:
        verdict.untold.append(f"{uid}: {moves} but {item['status']}")
    if actions.count("instance_received") != item["instances"]:
        verdict.untold.append(f"{uid}: another number of instances received than it has")
    decided = [one["detail"]["revision"] for one in events if one["action"] == "decision_made"]
    if len(decided) != len(set(decided)):
        verdict.doubled.append(f"{uid}: decided twice in a revision")
    sent = [one["uid"] for one in study["deliveries"] if one["state"] in {"sent", "committed"}]
    again = actions.count("delivery_not_committed")  # each is followed by another sending
    if actions.count("delivery_sent") != len(sent) + again:
        verdict.untold.append(f"{uid}: another number of deliveries sent than it has")


def _judge_reports(verdict, study, peers):
    """As many reports at the PACS as there were decisions, and not one that the agent does not know of."""
    uid = study["item"]["study_instance_uid"]
    decided = sum(one["action"] == "decision_made" for one in study["audit"])
    if peers.pacs.reports()[uid] != decided:
        verdict.doubled.append(f"{uid}: {peers.pacs.reports()[uid]} reports of {decided} decisions")
    if study["item"]["status"] == Status.DELIVERED and uid not in peers.ris.studies():
        verdict.without_status.append(f"{uid}: the RIS was told nothing")


def _judge_database(verdict, agent):
    if not (file := Path(agent.data_dir) / "triage.db").exists():
        return
    base = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        for check in ("integrity_check", "foreign_key_check"):
            verdict.damaged += [row for row in base.execute(f"PRAGMA {check}").fetchall() if row != ("ok",)]
    finally:
        base.close()
