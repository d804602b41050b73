"""The SQL worklist and its twin in memory tell the same story, whatever happens in whatever order."""

import shutil
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from support.story import (
    LEASE,
    REPORT,
    RULE,
    SECOND,
    T0,
    decision,
    failed,
    flag,
    in_shadow,
    received,
    scored,
    shadow_result,
    shipment,
)

from triage_agent.domain.commitment import CommitmentReport, CommitmentRequest, Reference
from triage_agent.domain.orders import Message, Narrowing, Order, OrderStatus, PatientUpdate
from triage_agent.domain.vocabulary import ArtifactKind, Event, Finding, Priority
from triage_agent.domain.withdrawal import RejectionReason
from triage_agent.worklist import MemoryWorklist, SqlWorklist, open_engine

STUDIES = st.sampled_from(["1.2.1", "1.2.2", "1.2.3"])
PATIENTS = st.sampled_from([("", ""), ("", "Doe^Jane"), ("42", ""), ("43", "Roe^Rick")])
ACCESSIONS = st.sampled_from(["", "A1", "A2"])
OWNERS = st.sampled_from(["w1", "w2"])
PRIORITIES = st.sampled_from(Priority)
PROBABILITIES = st.sampled_from([0.0, 0.25, 0.5, 1.0])
ENDINGS = st.sampled_from([Event.DECIDED, Event.DECIDED, Event.EXCLUDED, Event.FAILED])
DESTINATIONS = st.lists(st.sampled_from(["pacs", "ris"]), max_size=3)

ENDS = st.sampled_from(["sent", "sent", "sent", "later", "never"])
TRANSACTIONS = st.sampled_from(["2.25.71", "2.25.72"])
OBJECTS = st.lists(st.sampled_from(["2.25.1", "2.25.91", "2.25.92"]), max_size=3)


def anonymous(deliveries):
    """The numbers of rows differ between databases; what they mean may not."""
    return [replace(each, delivery_id=0) for each in deliveries]


class Twins(RuleBasedStateMachine):
    template: Path

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        shutil.copy(self.template, self.folder / "triage.db")
        self.engine = open_engine(f"sqlite:///{self.folder / 'triage.db'}")
        self.both = (SqlWorklist(self.engine), MemoryWorklist())
        self.now = T0
        self.images = []
        self.studies = []
        self.deliveries = []
        self.priorities = {}

    def teardown(self):
        self.engine.dispose()
        shutil.rmtree(self.folder)

    def ask(self, method, *args, **named):
        """Put the same to both; they must answer alike."""
        of_sql, of_memory = (getattr(worklist, method)(*args, **named) for worklist in self.both)
        assert of_sql == of_memory
        return of_sql

    @rule(seconds=st.sampled_from([0, 1, 31, 61, 1000]))
    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule(
        study=STUDIES,
        number=st.integers(1, 4),
        priority=PRIORITIES,
        digest=st.sampled_from("aab"),
        patient=PATIENTS,
        accession=ACCESSIONS,
    )
    def an_image_comes(self, study, number, priority, digest, patient, accession):
        header = {"requested_priority": priority, "patient_id": patient[0], "patient_name": patient[1]}
        header["accession_number"] = accession
        image = received(study, f"{study}.{number}", self.now, digest * 64, **header)
        self.ask("register", image, RULE)

    @rule(study=STUDIES, other=STUDIES, number=st.integers(1, 4), priority=PRIORITIES)
    def another_study_s_image_comes(self, study, other, number, priority):
        image = received(study, f"{other}.{number}", self.now, "c" * 64, requested_priority=priority)
        self.ask("register", image, RULE)

    @rule(study=STUDIES, number=st.integers(5, 7), priority=PRIORITIES)
    def a_report_comes(self, study, number, priority):
        report = received(
            study, f"{study}.{number}", self.now, sop_class_uid=REPORT, requested_priority=priority, patient_id="P1"
        )
        self.ask("register", report, RULE)

    @rule(ask=st.booleans())
    def studies_complete(self, ask):
        for view in self.ask("due_for_completion", self.now, 2):
            if ask and not view.asked:
                self.ask("check_later", view.study_instance_uid, view.revision, self.now, asked=True)
            else:
                self.ask("complete", view, "quiet", self.now)

    @rule(study=STUDIES, revision=st.integers(0, 2), ends=ENDS, missing=st.integers(0, 2), owner=OWNERS)
    def a_study_is_fetched(self, study, revision, ends, missing, owner):
        by = "triage-agent" if revision else "fetch"
        self.ask("want_retrieval", study, "pacs", self.now, requested_by=by, revision=revision)
        claimed = self.ask("claim_retrieval", owner, self.now, LEASE)
        if claimed is not None:
            self.ask("retrieval_learnt", claimed, 4, [f"{study}.{number}" for number in range(3, 3 + missing)])
            error, again = (None, None) if ends == "sent" else ("why", self.now + LEASE if ends == "later" else None)
            self.ask("retrieval_ended", claimed, self.now, error=error, retry_at=again)
        self.ask("held_of", study)

    @rule(study=STUDIES, number=st.integers(1, 2), to=DESTINATIONS)
    def results_are_withdrawn(self, study, number, to):
        uid = f"2.25.9{study[-1]}{number}"
        notes = [shipment(uid, each, ArtifactKind.REJECTION) for each in dict.fromkeys(to)]
        objects = self.ask("objects_of", study)
        given = {"reason": RejectionReason.QUALITY, "actor": "admin", "now": self.now}
        self.ask("withdraw", study, notes, objects, **given)
        self.ask("withdrawn_of", study, 10)
        self.ask("results_of", study, 10)

    @rule(owner=OWNERS, limit=st.integers(1, 3))
    def images_are_claimed(self, owner, limit):
        self.images += self.ask("claim_images", owner, self.now, LEASE, limit)

    @precondition(lambda self: self.images)
    @rule(data=st.data(), probability=PROBABILITIES, works=st.booleans())
    def an_image_is_assessed(self, data, probability, works):
        claimed = data.draw(st.sampled_from(self.images))
        uid = claimed.instance.sop_instance_uid
        self.ask("record_assessment", claimed, scored(uid, probability) if works else failed(uid), self.now)

    @rule(study=STUDIES, revision=st.integers(1, 2), priority=PRIORITIES, to=DESTINATIONS, assessed=st.booleans())
    def a_flag_is_raised(self, study, revision, priority, to, assessed):
        shipments = [shipment(f"2.25.{revision}", each) for each in to]
        raised = flag(study, revision, image=f"{study}.1", at=self.now, priority=priority)
        kept = scored(raised.sop_instance_uid, raised.probability) if assessed else None
        self.ask("raise_flag", raised, shipments, self.now, kept)

    @rule(owner=OWNERS)
    def a_study_is_claimed(self, owner):
        claimed = self.ask("claim_study", owner, self.now, LEASE)
        if claimed is not None:
            self.studies.append((claimed, owner))

    @precondition(lambda self: self.studies)
    @rule(data=st.data(), event=ENDINGS, priority=PRIORITIES, probability=PROBABILITIES, to=DESTINATIONS)
    def a_study_is_decided(self, data, event, priority, probability, to):
        claimed, owner = data.draw(st.sampled_from(self.studies))
        self.decide(claimed, owner, event, priority, probability, to)

    @rule(owner=OWNERS, event=ENDINGS, priority=PRIORITIES, probability=PROBABILITIES, to=DESTINATIONS)
    def a_study_is_done_in_one_go(self, owner, event, priority, probability, to):
        """Random steps alone seldom get this far."""
        self.now += RULE.quiet
        for view in self.ask("due_for_completion", self.now):
            self.ask("complete", view, "quiet", self.now)
        claimed = self.ask("claim_study", owner, self.now, LEASE)
        if claimed is not None:
            self.studies.append((claimed, owner))
            self.decide(claimed, owner, event, priority, probability, to)

    def decide(self, claimed, owner, event, priority, probability, to):
        scores = [scored(each.sop_instance_uid, probability) for each in claimed.instances]
        made = decision(
            claimed.study_instance_uid,
            claimed.revision,
            self.now,
            event=event,
            finding=Finding.ABNORMAL if event is Event.DECIDED else Finding.NOT_ASSESSED,
            probability=probability if event is Event.DECIDED else None,
            priority=priority,
            status_reason="" if event is Event.DECIDED else "why",
        )
        self.ask("decide", made, scores, [shipment(f"2.25.9{claimed.revision}", each) for each in to], owner)

    @rule(study=STUDIES, revision=st.integers(1, 3), probability=PROBABILITIES)
    def a_decision_is_compared(self, study, revision, probability):
        images = [in_shadow(f"{study}.{number}", probability) for number in (2, 1)]
        self.ask("record_shadow", study, revision, shadow_result(probability=probability), images, self.now)

    @rule(owner=OWNERS, limit=st.integers(1, 3), destinations=st.sampled_from([None, None, ["ris"]]))
    def some_deliveries_are_claimed(self, owner, limit, destinations):
        self.deliveries_are_claimed(owner, limit, destinations)

    def deliveries_are_claimed(self, owner, limit, destinations):
        claims = [each.claim_deliveries(owner, self.now, LEASE, limit, destinations) for each in self.both]
        assert anonymous(claims[0]) == anonymous(claims[1])
        self.deliveries += zip(*claims, strict=True)

    @precondition(lambda self: self.deliveries)
    @rule(data=st.data(), end=ENDS)
    def a_delivery_ends(self, data, end):
        self.end(data.draw(st.sampled_from(self.deliveries)), end)

    @rule(owner=OWNERS, ends=st.lists(ENDS, min_size=4, max_size=4))
    def deliveries_are_made(self, owner, ends):
        self.now += LEASE
        before = len(self.deliveries)
        self.deliveries_are_claimed(owner, 4, None)
        for pair, end in zip(self.deliveries[before:], ends, strict=False):
            self.end(pair, end)

    def end(self, pair, end):
        for worklist, delivery in zip(self.both, pair, strict=True):
            if end == "sent":
                worklist.delivery_sent(delivery, self.now, commit=delivery.destination == "pacs")
            else:
                worklist.delivery_failed(delivery, end, self.now + LEASE if end == "later" else None, self.now)

    @rule(owner=OWNERS, what=st.sampled_from(["give_back", "renew", "expire", "expire"]), counted=st.booleans())
    def leases_move(self, owner, what, counted):
        if what == "expire":
            self.ask("expire_leases", self.now)
        elif what == "renew":
            self.ask("renew_leases", owner, self.now, LEASE)
        else:
            self.ask("give_back", owner, self.now, counted=counted)

    @rule(transaction_uid=TRANSACTIONS, limit=st.integers(1, 3))
    def a_destination_is_asked_what_it_keeps(self, transaction_uid, limit):
        self.ask("claim_commitments", "pacs", transaction_uid, self.now, self.now + LEASE, limit, 2)

    @rule(transaction_uid=TRANSACTIONS, away=st.booleans(), refused=st.booleans())
    def a_question_is_put_or_not(self, transaction_uid, away, refused):
        if away or refused:
            self.ask("commitments_not_asked", transaction_uid, "why", self.now + LEASE, counted=refused)
        else:
            self.ask("commitments_asked", transaction_uid, self.now + LEASE)

    @rule(transaction_uid=TRANSACTIONS, kept=OBJECTS, lost=OBJECTS)
    def a_destination_reports(self, transaction_uid, kept, lost):
        said = CommitmentReport(
            transaction_uid=transaction_uid,
            committed=tuple(Reference(REPORT, uid) for uid in kept),
            failed=tuple((Reference(REPORT, uid), 0x0112) for uid in lost),
        )
        self.ask("commitment_reported", ["pacs"], said, 1, self.now)

    @rule(peer=st.sampled_from(["pacs", "ris"]), transaction_uid=TRANSACTIONS)
    def a_peer_asks_what_we_keep(self, peer, transaction_uid):
        wanted = (Reference("1.2", "1.2.1.1"), Reference("1.2", "1.2.3.4"))
        request = CommitmentRequest(peer=peer, transaction_uid=transaction_uid, references=wanted)
        self.ask("keep_commitment_request", request, self.now, self.now)
        self.ask("kept_instances", [reference.sop_instance_uid for reference in wanted])

    @rule(away=st.sampled_from([(), (), ("ris",)]), end=ENDS)
    def a_peer_is_answered_or_not(self, away, end):
        claims = [each.claim_commitment_request(self.now, self.now + LEASE, away) for each in self.both]
        told = [claimed and (claimed.request, claimed.attempt) for claimed in claims]
        assert told[0] == told[1]
        for worklist, claimed in zip(self.both, claims, strict=True):
            if claimed is not None and end == "sent":
                worklist.commitment_answered(claimed, 1, self.now)
            elif claimed is not None:
                worklist.commitment_unanswered(claimed, end, self.now if end == "later" else None, self.now)

    @rule(kept=st.sampled_from([["pacs"], ["pacs", "ris"]]))
    def a_worker_starts_with_these_routes(self, kept):
        self.ask("bury_unrouted", kept, self.now)

    @rule(study=STUDIES, everything=st.booleans())
    def a_person_retries(self, study, everything):
        if everything:
            self.ask("retry_failed", "admin", self.now)
        else:
            self.ask("retry_study", study, "admin", self.now)

    @rule(days=st.sampled_from([0, 1]), deleted=st.booleans())
    def originals_go(self, days, deleted):
        before = self.now - timedelta(days=days)
        for study in self.ask("originals_past", before, 2):
            self.ask("forget_originals", study, before, self.now)
            if deleted:
                self.ask("originals_gone", study, self.now)

    @rule(
        numbers=st.sampled_from([("F1", "P1"), ("F2", "P1"), (None, "P2"), ("F3", None)]),
        accession=ACCESSIONS,
        study=st.sampled_from([None, None, "1.2.1", "1.2.3"]),
        patient=PATIENTS,
        priority=st.sampled_from([None, *Priority]),
        status=st.sampled_from([None, None, *OrderStatus]),
    )
    def an_order_is_told_of(self, numbers, accession, study, patient, priority, status):
        told = Order(
            filler_order_number=numbers[0],
            placer_order_number=numbers[1],
            accession_number=accession or None,
            study_instance_uid=study,
            patient_id=patient[0] or None,
            patient_name=patient[1],
            priority=priority,
            status=status,
        )
        self.ask("keep_orders", [told], self.message())

    @rule(prior=st.sampled_from(["42", "43"]), into=PATIENTS, reissue=st.booleans())
    def patients_are_merged(self, prior, into, reissue):
        patient = PatientUpdate(patient_id=into[0] or "44", patient_name=into[1] or None)
        if patient.patient_id != prior:
            self.ask("merge_patient", [prior], patient, self.message(), reissue=reissue)

    @rule(patient=PATIENTS, where=st.sampled_from([None, "ED"]))
    def a_patient_is_updated(self, patient, where):
        update = PatientUpdate(patient_id=patient[0] or "44", patient_name=patient[1], patient_location=where)
        self.ask("update_patient", update, self.message())

    def message(self):
        return Message(control_id="M", sender="RIS", received_at=self.now)

    @rule(narrowing=st.sampled_from([Narrowing(), Narrowing(accession_number="A1"), Narrowing(patient_id="42")]))
    def somebody_asks_for_the_worklist(self, narrowing):
        self.ask("orders")
        self.ask("scheduled", narrowing, T0 + SECOND, lambda _record: True, 50)

    @invariant()
    def both_tell_the_same(self):
        listed = self.ask("items")
        for item in listed:
            self.ask("last_artifact", item.study_instance_uid, ArtifactKind.SR, item.revision)
            self.ask("results_of", item.study_instance_uid, 50)
        self.ask("counts")
        self.ask("trouble_at", "ris")
        self.ask("comparisons", T0 + RULE.max_wait)
        for item in listed:
            uid = item.study_instance_uid
            of_sql, of_memory = (worklist.study(uid) for worklist in self.both)
            assert anonymous(of_sql.deliveries) == anonymous(of_memory.deliveries)
            assert replace(of_sql, deliveries=()) == replace(of_memory, deliveries=())

    @invariant()
    def no_priority_falls(self):
        for item in self.both[0].items():
            uid = item.study_instance_uid
            assert item.priority.rank >= self.priorities.get(uid, Priority.ROUTINE).rank
            assert item.priority.rank >= item.priority_at_arrival.rank
            self.priorities[uid] = item.priority


@pytest.fixture
def machine(sqlite_template):
    return type("Twins", (Twins,), {"template": sqlite_template})


def test_any_order_of_events_leaves_both_alike(machine):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=40,
            phases=[Phase.explicit, Phase.generate],  # making an example smaller takes minutes: by hand, with its seed
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
