"""Rules that name destinations: results go there, and to whoever was told of the study before."""

from triage_agent.decision import DEFAULT_POLICY, Condition, Policy, Rule
from triage_agent.domain.vocabulary import AuditAction, Finding, Priority, Status

SR, ORU = ("sr", "pacs"), ("hl7-oru", "ris")


def policy(*routes, **when):
    only = Rule(name="only", when=Condition(**when), priority=Priority.URGENT, routes=routes)
    return Policy(rules=(only, *DEFAULT_POLICY.rules))


def test_results_go_to_the_destinations_of_the_rule_that_fired(ward):
    ward.policy = policy("pacs", finding=Finding.NORMAL)
    ward.receive(columns=64)
    ward.decide()
    assert (ward.outbox(), ward.item().rule) == ([SR], "only")


def test_a_rule_that_names_none_sends_everywhere(ward):
    ward.receive(columns=64)
    ward.decide()
    assert sorted(ward.outbox()) == [ORU, SR]


def test_who_was_told_of_a_raise_is_told_of_the_decision(ward):
    ward.policy = policy("pacs", max_probability=0.9)
    ward.receive(columns=65)
    ward.score_images()
    assert ward.outbox() == [ORU], "the flag, by a rule that sends everywhere"
    ward.receive(columns=64)
    ward.receive(columns=64)
    ward.decide()
    assert sorted(ward.outbox()) == [ORU, ORU, SR]


def test_a_flag_goes_where_its_rule_says(ward):
    ward.policy = policy("pacs", finding=Finding.ABNORMAL)
    ward.receive(columns=65)
    ward.score_images()
    assert (ward.outbox(), ward.item().priority) == ([], Priority.URGENT)


def test_the_trail_says_what_the_rule_is_for(ward):
    ward.policy = policy("pacs", finding=Finding.NORMAL, max_probability=0.5)
    ward.receive(columns=64)
    ward.decide()
    assert ward.item().status is Status.DECIDED
    (made,) = [one for one in ward.worklist.study("1.2.1").audit if one.action is AuditAction.DECISION_MADE]
    assert made.detail["rule_is_for"] == "a normal finding; a probability of at most 0.5"
    assert made.detail["routes"] == ["pacs"]


def test_a_rule_may_ask_for_what_the_images_say_of_the_patient(ward):
    ward.policy = policy(max_age=15)
    ward.receive(columns=64, PatientAge="007Y")
    ward.decide()
    assert (ward.item().rule, ward.item().priority) == ("only", Priority.URGENT)
