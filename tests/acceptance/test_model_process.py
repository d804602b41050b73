"""The model of a running agent has a process of its own, and may end at any time."""

import os
from pathlib import Path

from support.agent import eventually
from support.xrays import radiograph, send


def test_a_model_that_is_killed_costs_no_study(agent, pacs):
    studies = [radiograph(seed=seed) for seed in range(12)]
    running = agent(bundle="embedded", own_process=True, pacs_port=pacs.port)
    first, second = studies[:6], studies[6:]
    assert send(running.port, *first) == {one.SOPInstanceUID: 0 for one in first}
    model = eventually(lambda: _model_of(running.pid))
    os.kill(model, 9)
    assert send(running.port, *second) == {one.SOPInstanceUID: 0 for one in second}
    items = running.settled(*[one.StudyInstanceUID for one in studies])
    assert [item["status"] for item in items] == ["delivered"] * len(studies)
    assert eventually(lambda: _model_of(running.pid)) != model
    assert "model_process_ended" in running.log_text
    model = _model_of(running.pid)
    assert running.stop() == 0
    assert not Path(f"/proc/{model}").exists()


def _model_of(pid):
    """The process id of an agent's model; None while it is being started."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                if b"models.apart.child" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
            except OSError:
                continue
    return None
