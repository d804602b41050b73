"""Two listeners and two workers on Postgres are restarted one after the other while senders go on."""

import threading
from contextlib import contextmanager

import pytest
from pynetdicom import AE
from pynetdicom.presentation import build_context
from support.faultsite import PATIENCE_SECONDS, TABLES, FaultAgent, Images, Peers, all_delivered
from support.instances import DX, EXPLICIT
from support.trials import TRIALS, write_figures
from support.verdict import Watch, judge
from support.xrays import stop_waiting_when_it_ends

pytestmark = [pytest.mark.external, pytest.mark.timeout(300 + 2 * TRIALS)]

_ROUNDS = max(1, TRIALS // 50)  # in each of which each process is restarted once
_SENDERS = 3
_IMAGES = 2  # a study, each in an association of its own
_BETWEEN_IMAGES = 0.3  # seconds, so that restarts find associations open
_SUCCESS = 0x0000


class Call:
    """An association with one of the listeners, made by a modality that goes to the other one where it is refused."""

    def __init__(self, ports):
        entity = AE("PACS")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = PATIENCE_SECONDS
        context = build_context(DX, [EXPLICIT])
        for port in ports:
            self._association = entity.associate("127.0.0.1", port, contexts=[context], ae_title="TRIAGE")
            if self._association.is_established:
                break
        self.was_accepted = self._association.is_established
        self._ended = threading.Event()
        threading.Thread(target=stop_waiting_when_it_ends, args=(self._association, self._ended), daemon=True).start()

    def store(self, image):
        """Whether it was acknowledged."""
        if not self._association.is_established:
            return False
        return self._association.send_c_store(image).get("Status") == _SUCCESS

    def end(self):
        """Release; whether it was an association to the end."""
        was_whole = self._association.is_established
        if was_whole:
            self._association.release()
        self._ended.set()
        return was_whole and self._association.is_released


class Sender(threading.Thread):
    """Sends studies until it is told to stop; what is refused is sent again, what was accepted must be taken."""

    def __init__(self, images, ports):
        super().__init__(daemon=True)
        self._images, self._ports = images, ports
        self._told = threading.Event()
        self.studies, self.acknowledged = [], {}
        self.accepted, self.lost = 0, []

    def run(self):
        while not self._told.is_set():
            study = self._images.study(0.6, _IMAGES)
            while not self._send(study):
                self._told.wait(0.05)
            self.studies.append(study)
            self._ports.reverse()

    def stop(self):
        self._told.set()
        self.join(PATIENCE_SECONDS)
        assert not self.is_alive(), "a sender has no end"

    def _send(self, study):
        call = Call(self._ports)
        taken = []
        for image in study:
            taken.append(call.store(image))
            if taken[-1]:
                self.acknowledged[str(image.SOPInstanceUID)] = image
                self._told.wait(_BETWEEN_IMAGES)
        was_whole = call.end()
        self.accepted += call.was_accepted
        if call.was_accepted and not (was_whole and all(taken)):
            self.lost.append((study[0].StudyInstanceUID, taken, was_whole))
        return all(taken)


@contextmanager
def sending(folder, listeners):
    senders = []
    for number in range(_SENDERS):
        (folder / f"sender-{number}").mkdir()
        ports = [agent.port for agent in listeners]
        senders.append(Sender(Images(folder / f"sender-{number}", seed=100_000 * number), ports))
    for sender in senders:
        sender.start()
    try:
        yield senders
    finally:
        for sender in senders:
            sender.stop()


def restart(agent, study=None):
    """SIGTERM and start again; what of `study` is sent meanwhile on an association that was open before."""
    call = study and Call([agent.port])
    taken = [call.store(study[0])] if call else []
    agent.terminate()
    if call:
        threading.Event().wait(_BETWEEN_IMAGES)  # the listener has heard of its end by then, or soon
        taken += [call.store(image) for image in study[1:]]
        assert call.end(), "the association was cut"
    agent.wait()
    agent.start(wait=True)
    return taken


def test_no_association_that_was_accepted_is_lost_while_one_process_after_the_other_is_restarted(
    launcher, make_database, images, tmp_path
):
    site = {"data_dir": tmp_path / "var", "tables": f'{TABLES}[database]\nurl = "{make_database()}"\n'}
    watch = Watch()
    with Peers() as peers:
        roles = ("listener", "worker", "listener", "worker")
        agents = [
            FaultAgent(tmp_path / f"{role}-{number}", launcher, role=role, **peers.ports, **site)
            for number, role in enumerate(roles)
        ]
        listeners = [agent for agent in agents if agent.role == "listener"]
        try:
            for agent in agents:
                agent.start(wait=True)
            kept_open, answers = [], []
            with sending(tmp_path, listeners) as senders:
                for agent in agents * _ROUNDS:
                    study = images.study(0.97, 3) if agent.role == "listener" else None
                    answers += restart(agent, study)
                    kept_open += [study] if study else []
            studies = [*kept_open, *(study for sender in senders for study in sender.studies)]
            items = all_delivered(agents[0], studies, look=watch)
            acknowledged = {str(one.SOPInstanceUID) for study in studies for one in study}
            verdict = judge(agents[0], studies, acknowledged, peers, watch)
        finally:
            for agent in agents:
                agent.forget()
                agent.kill()
    figures = {
        "restarts": len(agents) * _ROUNDS,
        "studies": len(items),
        "associations": sum(sender.accepted for sender in senders) + len(kept_open),
        "lost_associations": sum(len(sender.lost) for sender in senders),
    }
    write_figures("rolling-restart", **figures, **verdict.counts())
    assert answers == [True] * 3 * len(kept_open)
    assert [one for sender in senders for one in sender.lost] == []
    assert min(len(sender.studies) for sender in senders) > 0
    assert verdict, vars(verdict)
