"""A PACS that also commits, asks for commitment and has images that were never sent; and what must come of all that."""

import contextlib
import threading

from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_context, build_role, evt
from support.archives import QUERY_RETRIEVE, ScriptedArchive
from support.commitment import INSTANCE, PUSH, wanted
from support.faultsite import TABLES, Modality
from support.instances import DX, EXPLICIT, IMPLICIT
from support.peers import KeepingPacs
from support.verdict import is_whole
from support.xrays import stop_waiting_when_it_ends

_ANSWER_SECONDS = 10.0
_RETRY_SECONDS = 0.1
_SUCCESS, _OUT_OF_RESOURCES, _PROCESSING_FAILURE, _NO_SUCH_INSTANCE = 0x0000, 0x0213, 0x0110, 0x0112
_REQUESTED, _ALL_KEPT, _SOME_NOT_KEPT = 1, 1, 2  # action type; event types (PS3.4 section J.3)

SERVICE_TABLES = f"""{TABLES.rstrip()}
ask_peer = "pacs"
ask_after_seconds = 0.2
fetch_missing = true
fetch_tries = 8
fetch_pause_seconds = 0.2
fetch_seconds = 5
"""
SERVICE_TABLES = SERVICE_TABLES.replace("[delivery]\n", "[delivery]\ncommit_answer_seconds = 2\ncommit_asks = 50\n")


class ServicePacs(KeepingPacs):
    """Takes questions and puts some; its reports come once, as those of many PACS do: who misses one asks again.

    Attributes:
        needs: how it behaves (see `support.failpoints`), from `serve` on.
        told: {SOP Instance UID of a report that it has promised, and of which the promise was taken}.
        answers: {its own Transaction UIDs: ({kept}, {not kept})}.
    """

    def serve(self, agent_port, images, needs):
        """Forget the last site; this one's agent listens there, and these are the images that the PACS has."""
        self.needs = needs
        self.told, self.answers, self.asked = set(), {}, {}
        self._met = set()  # what is met badly only the first time
        self._agent_port = agent_port
        self._archive.data_sets, self._archive.destination = list(images), agent_port

    def __init__(self):
        super().__init__()
        self._archive = ScriptedArchive([])
        self.serve(0, [], "")

    def _offer(self, entity):
        super()._offer(entity)
        entity.dimse_timeout = _ANSWER_SECONDS  # nobody hangs here: whoever does not answer is dead
        for model in QUERY_RETRIEVE:
            entity.add_supported_context(model)
        for abstract in (DX, PUSH):
            entity.add_supported_context(abstract, [EXPLICIT, IMPLICIT], scu_role=True, scp_role=True)

    def _handlers(self):
        return [
            *super()._handlers(),
            *self._archive.handlers(),
            (evt.EVT_N_ACTION, self._on_action),
            (evt.EVT_N_EVENT_REPORT, self._on_report),
        ]

    def _for_the_first_time(self, what):
        with self._lock:
            is_first = what not in self._met
            self._met.add(what)
        return is_first

    # --- the agent asks ----------------------------------------------------------------------------------------------
    def _on_action(self, event):
        if self.needs == "refuses a question" and self._for_the_first_time("question"):
            return _OUT_OF_RESOURCES, None
        information = event.action_information
        threading.Thread(target=self._report, args=(event.assoc, information), daemon=True).start()
        return _SUCCESS, None

    def _report(self, asked_on, information):
        """Say what is kept: where it was asked for, or on an association of its own."""
        report, kept = Dataset(), set()
        report.TransactionUID, failed, found = information.TransactionUID, [], []
        for one in information.ReferencedSOPSequence:
            uid = str(one.ReferencedSOPInstanceUID)
            if self.needs == "has lost it" and self._for_the_first_time(uid):
                one.FailureReason = _PROCESSING_FAILURE
            elif uid not in self._bodies:
                one.FailureReason = _NO_SUCH_INSTANCE
            else:
                kept.add(uid)
            (found if uid in kept else failed).append(one)
        if found:
            report.ReferencedSOPSequence = found
        if failed:
            report.FailedSOPSequence = failed
        what = (report, _SOME_NOT_KEPT if failed else _ALL_KEPT, PUSH, INSTANCE)
        status = None
        with contextlib.suppress(RuntimeError, ValueError):  # the other side has died
            if self.needs == "the same association":
                status, _ = asked_on.send_n_event_report(*what)
            else:
                with self._calling(build_role(PUSH, scu_role=False, scp_role=True)) as association:
                    status, _ = association.send_n_event_report(*what)
        if status is not None and status.get("Status") == _SUCCESS:
            self.told |= kept

    # --- it asks the agent -------------------------------------------------------------------------------------------
    def ask_to_keep(self, transaction_uid, images):
        """Put a question; whether it was taken."""
        with contextlib.suppress(RuntimeError, ValueError), self._calling() as association:
            uids = [str(one.SOPInstanceUID) for one in images]
            question = wanted(*uids, transaction_uid=transaction_uid)
            status, _ = association.send_n_action(question, _REQUESTED, PUSH, INSTANCE)
            if status.get("Status") == _SUCCESS:
                self.asked[transaction_uid] = set(uids)
        return transaction_uid in self.asked

    def _on_report(self, event):
        if self.needs == "hangs up on a report" and self._for_the_first_time("report"):
            event.assoc.abort()
            return _PROCESSING_FAILURE, None  # nobody hears it
        report = event.event_information
        kept, not_kept = (
            {str(one.ReferencedSOPInstanceUID) for one in report.get(sequence) or []}
            for sequence in ("ReferencedSOPSequence", "FailedSOPSequence")
        )
        self.answers[str(report.TransactionUID)] = (kept, not_kept)
        return _SUCCESS, None

    @contextlib.contextmanager
    def _calling(self, *roles):
        entity, done = AE(self._ae_title), threading.Event()
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _ANSWER_SECONDS
        association = entity.associate(
            "127.0.0.1",
            self._agent_port,
            contexts=[build_context(PUSH)],
            ae_title="TRIAGE",
            ext_neg=list(roles) or None,
        )
        threading.Thread(target=stop_waiting_when_it_ends, args=(association, done), daemon=True).start()
        try:
            yield association
        finally:
            if association.is_established:
                association.release()
            done.set()


class AskingModality(Modality):
    """Sends, and then has the PACS ask whether what was acknowledged is kept, until each question is taken."""

    def __init__(self, port, studies, pacs):
        super().__init__(port, studies)
        self._pacs = pacs

    def run(self):
        super().run()
        for images in self._studies:
            transaction_uid = str(generate_uid())
            while not self._told.is_set() and not self._pacs.ask_to_keep(transaction_uid, images):
                self._told.wait(_RETRY_SECONDS)


class Services:
    """What a site with commitment and fetching owes when everything is quiet again."""

    def __init__(self, agent, studies, pacs, withheld):
        """`withheld`: images that only the PACS has."""
        self._agent = agent
        self._studies = [str(images[0].StudyInstanceUID) for images in studies]
        self._pacs = pacs
        self._withheld = withheld

    def settled(self):
        """Whether the PACS has promised to keep every report, and knows what the agent keeps."""
        return (
            len(self._pacs.asked) == len(self._studies)
            and self._pacs.asked.keys() <= self._pacs.answers.keys()
            and all(one["state"] == "committed" for uid in self._studies for one in self._reports(uid))
        )

    def judge(self, verdict):
        """Look at what was promised and what was fetched."""
        for transaction_uid, uids in self._pacs.asked.items():
            if self._pacs.answers[transaction_uid] != (uids, set()):
                verdict.uncommitted.append(f"{transaction_uid}: {self._pacs.answers[transaction_uid]}")
        for uid in self._studies:
            actions = self._agent.actions(uid)
            reports = self._reports(uid)
            if actions.count("delivery_committed") != len(reports):
                verdict.uncommitted.append(f"{uid}: another number of commitments than of reports")
        known = {one["uid"] for uid in self._studies for one in self._reports(uid)}
        verdict.uncommitted += sorted(self._pacs.told - known)
        for image in self._withheld:
            self._judge_fetched(verdict, image)

    def _judge_fetched(self, verdict, image):
        study = self._agent.study(image.StudyInstanceUID)
        found = [one for one in study["instances"] if one["sop_instance_uid"] == image.SOPInstanceUID]
        decisions = [one["detail"] for one in study["audit"] if one["action"] == "decision_made"]
        retrieval = study["retrieval"] or {}
        if len(found) != 1 or not is_whole(self._agent.data_dir / "spool" / found[0]["path"], image):
            verdict.unfetched.append(f"{image.SOPInstanceUID}: kept {len(found)} times, or not whole")
        elif len(decisions) != 1 or (found[0]["assessment"] or {}).get("outcome") != "scored":
            verdict.unfetched.append(f"{image.SOPInstanceUID}: {len(decisions)} decisions, {found[0]}")
        elif (retrieval.get("state"), retrieval.get("expected")) != ("done", len(study["instances"])):
            verdict.unfetched.append(f"{image.SOPInstanceUID}: {retrieval}")

    def _reports(self, uid):
        return [one for one in self._agent.study(uid)["deliveries"] if one["destination"] == "pacs"]
