"""Threads and processes on one worklist: nobody gets what another has, and nobody waits for ever."""

import multiprocessing
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.claimer import claim_all, claim_and_tell
from support.story import LEASE, RULE, STUDY, T0, decision, flag, received, scored, shipment

from triage_agent.domain.commitment import CommitmentRequest, Reference
from triage_agent.domain.ports import Registered
from triage_agent.domain.vocabulary import Priority
from triage_agent.worklist import SqlWorklist, open_engine

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["triage_agent.worklist"])
N = 30
TURNS = 10
WHAT = ["studies", "images", "deliveries", "commitments", "requests"]


def fill(url, what):
    """N things to claim; returns their names."""
    engine = open_engine(url)
    worklist = SqlWorklist(engine)
    for number in range(N):
        study = f"1.2.{number}"
        worklist.register(received(study, f"{study}.1", T0), RULE)
        if what in {"deliveries", "commitments"}:
            worklist.raise_flag(flag(study), [shipment(f"2.25.{number}")], T0)
        if what == "requests":
            asked = CommitmentRequest(
                peer="pacs", transaction_uid=f"2.25.{number}", references=(Reference("1.2", "1.2.3"),)
            )
            worklist.keep_commitment_request(asked, T0, T0)
    if what == "commitments":
        for delivery in worklist.claim_deliveries("s", T0, LEASE, N):
            worklist.delivery_sent(delivery, T0, commit=True)
    if what == "studies":
        for view in worklist.due_for_completion(T0 + RULE.quiet):
            worklist.complete(view, "quiet", T0)
    engine.dispose()
    prefix, suffix = {"studies": ("1.2", ""), "images": ("1.2", ".1")}.get(what, ("2.25", ""))
    return {f"{prefix}.{number}{suffix}": 1 for number in range(N)}


@pytest.mark.parametrize("what", WHAT)
def test_threads_never_get_the_same_thing(database_url, what):
    expected = fill(database_url, what)
    with ThreadPoolExecutor(4) as pool:
        got = pool.map(lambda owner: claim_all(database_url, what, owner), "abcd")
        assert Counter(name for names in got for name in names) == expected


@pytest.mark.parametrize("what", WHAT)
def test_processes_never_get_the_same_thing(database_url, what):
    expected = fill(database_url, what)
    got = _FORKED.SimpleQueue()
    processes = [_FORKED.Process(target=claim_and_tell, args=(database_url, what, owner, got)) for owner in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(250)
        assert process.exitcode == 0
    assert Counter(name for _ in processes for name in got.get()) == expected


def test_images_of_one_study_that_come_at_once_are_all_counted(database_url):
    engine = open_engine(database_url)
    worklist = SqlWorklist(engine)
    gate = threading.Barrier(8)

    def receive(number):
        gate.wait()
        return worklist.register(received(image=f"{STUDY}.{number}"), RULE)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(receive, range(8)))
    assert found == [Registered.NEW] * 8
    assert worklist.items()[0].instances == 8
    engine.dispose()


def test_the_same_image_from_two_senders_at_once_is_new_once(database_url):
    engine = open_engine(database_url)
    worklist = SqlWorklist(engine)
    gate = threading.Barrier(4)

    def receive(_):
        gate.wait()
        return worklist.register(received(), RULE)

    with ThreadPoolExecutor(4) as pool:
        found = Counter(pool.map(receive, range(4)))
    assert found == {Registered.NEW: 1, Registered.DUPLICATE: 3}
    engine.dispose()


def test_everybody_at_once_neither_deadlocks_nor_loses_anything(database_url):
    engine = open_engine(database_url)
    worklist = SqlWorklist(engine)

    def work(seed):
        chance, owner = random.Random(seed), f"w{seed}"
        for turn in range(TURNS):
            study = f"1.2.{chance.randrange(4)}"
            worklist.register(received(study, f"{study}.{seed}{turn}", T0), RULE)
            for claimed in worklist.claim_images(owner, T0, LEASE, 2):
                worklist.record_assessment(claimed, scored(claimed.instance.sop_instance_uid), T0)
            worklist.raise_flag(
                flag(study, priority=chance.choice(list(Priority))), [shipment(f"2.25.{seed}{turn}")], T0
            )
            for view in worklist.due_for_completion(T0 + RULE.quiet, 2):
                worklist.complete(view, "quiet", T0)
            if (held := worklist.claim_study(owner, T0, LEASE)) is not None:
                scores = [scored(each.sop_instance_uid) for each in held.instances]
                sent = [shipment(f"2.25.9{seed}{turn}")]
                worklist.decide(decision(held.study_instance_uid, held.revision), scores, sent, owner)
            for delivery in worklist.claim_deliveries(owner, T0, LEASE, 2):
                if chance.random() < 0.5:
                    worklist.delivery_sent(delivery, T0)
                else:
                    worklist.delivery_failed(delivery, "no", None, T0)
            worklist.retry_failed(owner, T0)
            worklist.give_back(owner, T0)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(1, 5)))
    assert sum(item.instances for item in worklist.items()) == 4 * TURNS
    engine.dispose()


def test_what_was_acknowledged_survives_a_process_that_dies_at_once(database_url):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "URL": database_url}
    program = (
        "import os; from support.story import *; from triage_agent.worklist import *\n"
        "worklist = SqlWorklist(open_engine(os.environ['URL']))\n"
        "worklist.register(received(), RULE)\n"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False, timeout=250).returncode == 9
    engine = open_engine(database_url)
    assert SqlWorklist(engine).digest_of("1.2.1.1") == "a" * 64
    engine.dispose()
