"""How urgent what is asked for is."""

from threading import Thread

from triage_agent.domain.urgency import asking_for, urgency
from triage_agent.domain.vocabulary import Priority


def test_the_most_urgent_study_of_a_batch_counts_for_all_of_it():
    with asking_for([Priority.ROUTINE, Priority.STAT, Priority.URGENT]):
        assert urgency() == Priority.STAT.rank


def test_nothing_said_is_routine_before_within_and_after():
    assert urgency() == 0
    with asking_for([]):
        assert urgency() == 0
    with asking_for([Priority.STAT]), asking_for([Priority.URGENT]):
        assert urgency() == Priority.URGENT.rank
    assert urgency() == 0


def test_threads_do_not_hear_of_each_other_s_urgency():
    heard = []
    with asking_for([Priority.STAT]):
        other = Thread(target=lambda: heard.append(urgency()))
        other.start()
        other.join()
    assert heard == [0]
