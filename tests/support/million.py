"""A worklist of as many studies as a hospital sees in years: a thousand a day, none of them marked as read."""

from datetime import timedelta
from random import Random

from sqlalchemy import func, insert, literal, select, text

from triage_agent.domain.vocabulary import Finding, Priority, Status
from triage_agent.worklist.limits import with_keys
from triage_agent.worklist.tables import StudyRow

A_DAY = 1000
_SEED = 10_000  # studies that are made one by one; the others are theirs, with other numbers
_REGIONS = ("XR_KNEE", "XR_HAND", "XR_SHOULDER", "XR_WRIST", "XR_ELBOW", "XR_HUMERUS", "XR_FOREARM", "XR_FINGER")
_FAMILIES = ("Abel", "Öztürk", "van der Berg", "Müller", "Nowak", "García", "Kim", "Singh", "Åkesson", "Martin")


def fill(database, studies, now):
    """So many studies, up to now."""
    chance = Random(1)
    days = studies / A_DAY
    seed = min(studies, _SEED)
    rows = [_study(number, now - timedelta(days=chance.random() * days), chance) for number in range(seed)]
    database.write(lambda session: session.execute(insert(StudyRow), rows))
    # An index that is there is written at random places for each row; one that is made at the end, once.
    indexes = database.write(_without_indexes)
    for copy in range(1, studies // seed):
        database.write(lambda session, copy=copy: session.execute(_copies(copy)))
    for statement in (*indexes, "ANALYZE"):
        database.write(lambda session, statement=statement: session.execute(text(statement)))


def _without_indexes(session):
    """Drop the indexes of the studies; what makes them again, word for word."""
    if session.get_bind().dialect.name == "sqlite":
        ask = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'studies' AND sql IS NOT NULL"
    else:
        ask = """SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'studies' AND indexname NOT IN
            (SELECT conname FROM pg_constraint WHERE conrelid = 'studies'::regclass)"""
    found = session.execute(text(ask)).all()
    for name, _ in found:
        session.execute(text(f'DROP INDEX "{name}"'))
    return [statement for _, statement in found]


def _study(number, at, chance):
    priority = chance.choices(list(Priority), [75, 20, 5])[0]
    status = chance.choices([Status.DELIVERED, Status.NEEDS_HUMAN, Status.OUT_OF_SCOPE], [97, 2, 1])[0]
    decided = status is Status.DELIVERED
    probability = chance.random() if priority is Priority.ROUTINE else chance.uniform(0.5, 0.99)
    return with_keys(
        {
            "study_instance_uid": f"1.2.840.99999.1.{number}.0",
            "accession_number": f"RX{number:06}-0",
            "patient_id": f"P{number % 4000:05}-0",
            "patient_name": f"{chance.choice(_FAMILIES)}{chance.randrange(200)}^Given",
            "status": status,
            "status_reason": None if decided else "cannot be assessed",
            "revision": 1,
            "priority": priority,
            "priority_at_arrival": Priority.ROUTINE,
            "instances": 2,
            "received_at": at,
            "first_received_at": at,
            "last_received_at": at,
            "asked": 0,
            "attempts": 1,
            "reasons": [],
            "anatomy": chance.choice(_REGIONS),
            "probability": probability if decided else None,
            "finding": (Finding.ABNORMAL if probability > 0.5 else Finding.NORMAL) if decided else None,
            "decided_at": at if decided else None,
        }
    )


def _copies(copy):
    """The seed once more: the last part of each number is the copy's, and no probability is another's."""
    ours = StudyRow.__table__
    ends = {"study_instance_uid", "accession_number", "patient_id", "accession_key", "patient_key"}

    def value(column):
        if column.name in ends:
            return (func.substr(column, 1, func.length(column) - 1) + str(copy)).label(column.name)
        if column.name == "probability":
            return (column * literal(1 - copy * 1e-4)).label(column.name)
        return column

    seed = ours.c.study_instance_uid.like("1.2.840.99999.1.%.0")
    return insert(ours).from_select([c.name for c in ours.c], select(*(value(c) for c in ours.c)).where(seed))
