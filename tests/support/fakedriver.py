"""Stands in for the process that speaks with Ray: answers by an image's brightness, or ends, or hangs.

`python fakedriver.py DESCRIPTOR`; what each brightness does stands below.
"""

import os
import sys
import time
from multiprocessing.connection import Connection

from triage_agent.domain.study import ImageScore
from triage_agent.models.cluster import wire
from triage_agent.models.cluster.answer import Answer, Outcome, scored
from triage_agent.models.cluster.wire import Standing, State

ENDS, HANGS, FAILS, LATE, SHORT = 0.9, 0.8, 0.7, 0.6, 0.4
AWAY_ADDRESS, JOINING_ADDRESS = "away:1", "joining:1"


def main():
    with Connection(int(sys.argv[1])) as connection:
        plan, _ = wire.receive_beginning(connection)
        if plan.address == AWAY_ADDRESS:
            wire.send_standing(connection, Standing(State.AWAY, "the cluster cannot be joined"))
        elif plan.address != JOINING_ADDRESS:
            wire.send_standing(connection, Standing(State.READY, f"token {os.environ.get('RAY_AUTH_TOKEN', '')}"))
        try:
            while True:
                answer(connection, *wire.receive_question(connection))
        except EOFError:
            return


def answer(connection, question, images):
    wanted = [round(float(image[0, 0]), 2) for image in images]
    if ENDS in wanted:
        os._exit(1)
    if HANGS in wanted:
        time.sleep(600)
    if LATE in wanted:
        return
    said = [
        of_it(brightness, anatomy, question.rank)
        for brightness, anatomy in zip(wanted, question.anatomies, strict=True)
    ]
    if SHORT in wanted:
        said.pop()
    wire.send_answers(connection, question.number, said)


def of_it(brightness, anatomy, rank):
    if brightness == FAILS:
        return Answer(outcome=Outcome.FAILED, says="ValueError")
    return scored(ImageScore(probability=brightness / 2, seen_anatomy=anatomy, strangeness=rank))


if __name__ == "__main__":
    main()
