"""Who is scored first where many wait: the pipeline says for whom it asks."""

from triage_agent.domain.urgency import urgency
from triage_agent.domain.vocabulary import Priority


def test_scores_are_asked_for_in_the_name_of_the_most_urgent_study(ward):
    heard = []
    score = ward.scorer.score

    def listen(images, anatomies=()):
        heard.append((len(images), urgency()))
        return score(images, anatomies)

    ward.scorer.score = listen
    ward.receive(study="1.2.3", RequestedProcedurePriority="STAT")
    ward.receive(study="1.2.4")
    ward.score_images()
    ward.receive(study="1.2.5")
    ward.score_images()
    assert heard == [(2, Priority.STAT.rank), (1, Priority.ROUTINE.rank)]
    assert urgency() == Priority.ROUTINE.rank
