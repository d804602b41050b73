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

ENDS, HANGS, FAILS, LATE = 0.9, 0.8, 0.7, 0.6
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


def answer(connection, question, image):
    brightness = round(float(image[0, 0]), 2)
    if brightness == ENDS:
        os._exit(1)
    if brightness == HANGS:
        time.sleep(600)
    if brightness == LATE:
        return
    said = scored(ImageScore(probability=brightness / 2, seen_anatomy=question.anatomy, strangeness=question.rank))
    if brightness == FAILS:
        said = Answer(outcome=Outcome.FAILED, says="ValueError")
    wire.send_answer(connection, question.number, said)


if __name__ == "__main__":
    main()
