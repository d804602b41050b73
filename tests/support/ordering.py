"""Orders and queries about them, in short."""

from datetime import timedelta

from pydicom import DataElement, Dataset, config
from pydicom.datadict import dictionary_VR
from pynetdicom import AE
from support.listener import utc_now

from triage_agent.dimse.modality_worklist import MODALITY_WORKLIST, ModalityWorklist, WorklistTerms
from triage_agent.domain.orders import Message, Order
from triage_agent.domain.vocabulary import Priority


def message(control_id="M1", at=None, sender="RIS^H"):
    return Message(control_id=control_id, sender=sender, received_at=at or utc_now())


def order(**said):
    """An order of a knee, scheduled for a morning."""
    values = {
        "placer_order_number": "PL1",
        "filler_order_number": "F1",
        "accession_number": "A1",
        "patient_id": "P1",
        "patient_name": "Doe^Jane",
        "patient_birth_date": "19700301",
        "patient_sex": "F",
        "requested_procedure_id": "RP1",
        "procedure_code": "KNEE2",
        "procedure_coding_scheme": "99H",
        "procedure_description": "Knee, two views",
        "scheduled_date": "20260301",
        "scheduled_time": "093000",
        "scheduled_station_ae_title": "DX1\\DX2",
        "scheduled_step_id": "S1",
        "modality": "DX",
        "priority": Priority.ROUTINE,
    }
    return Order(**{**values, **said})


def worklist_service(**terms):
    """A Modality Worklist over a worklist, as `support.listener.listen` takes it."""

    def over(worklist):
        return ModalityWorklist(worklist.scheduled, utc_now, WorklistTerms(**terms))

    return over


def query(step=(), **keys):
    """A query; `step` has the keys of the scheduled procedure step, none for an item without any."""
    asked, item = Dataset(), Dataset()
    for data_set, wanted in ((asked, keys), (item, dict(step))):
        for keyword, value in wanted.items():
            # Not validated: some of them are wrong on purpose.
            data_set.add(DataElement(keyword, dictionary_VR(keyword), value, validation_mode=config.IGNORE))
    asked.ScheduledProcedureStepSequence = [item]
    return asked


def find(port, asked, calling="RIS", cancel_after=None):
    """(status codes, answers) of a C-FIND by pynetdicom's client."""
    entity = AE(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    entity.add_requested_context(MODALITY_WORKLIST)
    association = entity.associate("127.0.0.1", port, ae_title="TRIAGE")
    assert association.is_established
    codes, answers = [], []
    try:
        if not association.accepted_contexts:
            return None, []
        for status, answer in association.send_c_find(asked, MODALITY_WORKLIST, msg_id=7):
            codes.append(status.get("Status"))
            if answer is not None:
                answers.append(answer)
            if cancel_after == len(answers):
                association.send_c_cancel(7, association.accepted_contexts[0].context_id)
    finally:
        association.release()
    return codes, answers


LATER = timedelta(minutes=1)
