"""A listener in a process of its own, for tests to kill: `python killable.py FOLDER PORT`."""

import sys
import time
from pathlib import Path

from support.listener import PEERS, RULE, utc_now

from triage_agent.dimse.peers import AccessPolicy
from triage_agent.dimse.server import DicomServer, ServerSettings
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.reconcile import reconcile
from triage_agent.intake.spool import Spool
from triage_agent.worklist.engine import open_engine
from triage_agent.worklist.migrate import upgrade
from triage_agent.worklist.repository import SqlWorklist


def open_worklist(folder):
    """The worklist that the listener in `folder` uses."""
    url = f"sqlite:///{folder}/worklist.db"
    upgrade(url)
    return SqlWorklist(open_engine(url))


def main():
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    spool, worklist = Spool(folder / "spool", low_water_percent=0), open_worklist(folder)
    reconcile(spool, worklist, RULE, utc_now)
    receiver = Receiver(spool, worklist, RULE, utc_now)
    server = DicomServer(
        ServerSettings(ae_title="TRIAGE", host="127.0.0.1", port=port),
        begin=receiver.begin,
        receive=receiver.keep,
        policy=AccessPolicy(PEERS),
        audit=worklist.record_audit,
        clock=utc_now,
    )
    server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    time.sleep(600)


if __name__ == "__main__":
    main()
