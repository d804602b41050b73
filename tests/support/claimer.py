"""Claims until nothing is left: a worker of a queue, in a thread or in a process of its own."""

from support.story import LEASE, T0

from triage_agent.worklist import SqlWorklist, open_engine


def claim(worklist, what, owner):
    """One claim of `what`, as a list of names; an empty one says that nothing is left."""
    if what == "studies":
        study = worklist.claim_study(owner, T0 + LEASE, LEASE)
        return [study.study_instance_uid] if study else []
    if what == "images":
        images = worklist.claim_images(owner, T0 + LEASE, LEASE, 3)
        return [image.instance.sop_instance_uid for image in images]
    if what == "commitments":
        asked = worklist.claim_commitments("pacs", f"2.25.{ord(owner)}", T0 + LEASE, T0 + 2 * LEASE, 3, 3)
        return [artifact.uid for artifact in asked]
    if what == "requests":
        request = worklist.claim_commitment_request(T0 + LEASE, T0 + 2 * LEASE)
        return [request.request.transaction_uid] if request else []
    deliveries = worklist.claim_deliveries(owner, T0 + LEASE, LEASE, 3)
    return [delivery.artifact.uid for delivery in deliveries]


def claim_all(url, what, owner):
    engine = open_engine(url)
    worklist = SqlWorklist(engine)
    got = []
    while some := claim(worklist, what, owner):
        got += some
    engine.dispose()
    return got


def claim_and_tell(url, what, owner, told):
    """In a process: what it got goes into a queue."""
    told.put(claim_all(url, what, owner))
