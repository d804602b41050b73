import pytest

from triage_agent.domain.vocabulary import ArtifactKind, DeliveryState
from triage_agent.worklist.supersession import Place, superseded

DEAD, SENT, PENDING, SENDING = DeliveryState.DEAD, DeliveryState.SENT, DeliveryState.PENDING, DeliveryState.SENDING


def place(number, state, *, revision=1, of_decision=True, kind=ArtifactKind.HL7_ORU, to="ris"):
    return Place(number=number, revision=revision, of_decision=of_decision, kind=kind, destination=to, state=state)


@pytest.mark.parametrize("later", [SENT, PENDING, SENDING])
def test_a_dead_result_is_superseded_by_the_next_revision_s(later):
    assert superseded([place(1, DEAD), place(2, later, revision=2)]) == {1}


@pytest.mark.parametrize(
    "other",
    [
        place(2, DEAD, revision=2),
        place(2, SENT, revision=2, to="pacs"),
        place(2, SENT, revision=2, kind=ArtifactKind.SR),
        place(0, SENT),
    ],
)
def test_what_is_dead_itself_goes_elsewhere_is_of_another_kind_or_older_supersedes_nothing(other):
    assert superseded([place(1, DEAD), other]) == frozenset()


def test_a_flag_is_superseded_by_its_revision_s_decision_and_never_the_other_way_round():
    """A flag can be queued after the decision: another worker was still at its image."""
    flag, decided = place(2, DEAD, of_decision=False), place(1, SENT)
    assert superseded([decided, flag]) == {2}
    flag, decided = place(2, SENT, of_decision=False), place(1, DEAD)
    assert superseded([decided, flag]) == frozenset()


def test_only_what_is_dead_is_superseded():
    assert superseded([place(1, SENT), place(2, PENDING, revision=2), place(3, SENT, revision=3)]) == frozenset()


def test_a_rejection_note_supersedes_every_older_object_at_its_destination_and_no_message():
    note = place(9, PENDING, kind=ArtifactKind.REJECTION)
    dead = [
        place(1, DEAD, kind=ArtifactKind.SR),
        place(2, DEAD, kind=ArtifactKind.SC),
        place(3, DEAD),
        place(4, DEAD, kind=ArtifactKind.SR, to="archive"),
        place(10, DEAD, kind=ArtifactKind.SR, revision=2),
    ]
    assert superseded([*dead, note]) == {1, 2}


def test_a_rejection_note_is_superseded_by_nothing():
    first, second = place(1, DEAD, kind=ArtifactKind.REJECTION), place(2, SENT, kind=ArtifactKind.REJECTION)
    assert superseded([first, second]) == frozenset()
