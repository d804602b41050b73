"""Ways to tamper with an audit log, each by somebody who can write anything into the database."""

# ruff: noqa: S608 - the statements are the test's own

from sqlalchemy import text

from triage_agent.audit.chain import link
from triage_agent.domain.audit import AuditRecord
from triage_agent.domain.audit_log import Seal

COLUMNS = {"events": ("at", "action", "actor", "study_instance_uid", "detail"), "seals": ("floor", "sealed_at", "head")}


class Tamperer:
    """Does one random thing to a log of sealed records; `what` says what it was."""

    def __init__(self, connection, rng):
        self._connection = connection
        self._rng = rng
        self.ids = [row.record_id for row in self._rows("SELECT record_id FROM audit_seals ORDER BY position")]
        self.what = ""

    def once(self):
        ways = [
            self.change_record,
            self.change_record,
            self.change_seal,
            self.change_end,
            self.delete_record,
            self.delete_seal,
            self.delete_both,
            self.insert_in_place,
            self.insert_with_seal,
            self.swap_records,
            self.swap_seals,
            self.truncate_records,
            self.truncate_both,
            self.reseal_one,
        ]
        way = self._rng.choice(ways)
        self.what = way.__name__
        way()

    def _rows(self, statement, **values):
        return self._connection.execute(text(statement), values).all()

    def _do(self, statement, **values):
        self._connection.execute(text(statement), values)

    def _some(self, number=1):
        return self._rng.sample(self.ids, number)

    def _changed(self, value):
        """Another value of the same look: one character of it, or one more, or none."""
        kept = "" if value is None else str(value)
        place = self._rng.randrange(len(kept) + 1)
        tail = kept[place + 1 :]
        for letter in self._rng.sample("0123456789 abcxyzä", 18):
            if (made := kept[:place] + letter + tail) != kept:
                return made
        raise AssertionError

    def change_record(self):
        (record_id,) = self._some()
        column = self._rng.choice(COLUMNS["events"])
        (row,) = self._rows(f"SELECT {column} AS value FROM audit_events WHERE id = :id", id=record_id)
        self.what += f" {column}"
        value = self._changed(row.value)
        if column == "study_instance_uid" and row.value is not None and self._rng.random() < 0.3:
            value = None
        self._set("audit_events", column, value, "id", record_id)

    def _set(self, table, column, value, key, where):
        self._do(f"UPDATE {table} SET {column} = :value WHERE {key} = :where", value=value, where=where)

    def change_seal(self):
        position = self._rng.randrange(1, len(self.ids) + 1)
        column = self._rng.choice(COLUMNS["seals"])
        (row,) = self._rows(f"SELECT {column} AS value FROM audit_seals WHERE position = :p", p=position)
        self.what += f" {column}"
        value = row.value - 1 if column == "floor" else self._changed(row.value)
        self._set("audit_seals", column, value, "position", position)

    def change_end(self):
        column = self._rng.choice(["position", "head"])
        if column == "head":
            self._do("UPDATE audit_head SET head = :h", h=self._changed("0" * 64))
        else:
            self._do("UPDATE audit_head SET position = position + :n", n=self._rng.randrange(1, 9))

    def delete_record(self):
        self._do("DELETE FROM audit_events WHERE id = :id", id=self._some()[0])

    def delete_seal(self):
        self._do("DELETE FROM audit_seals WHERE record_id = :id", id=self._some()[0])

    def delete_both(self):
        """A record and its seal, wherever they are; sometimes the later seals take the freed place."""
        (record_id,) = self._some()
        (row,) = self._rows("SELECT position AS p FROM audit_seals WHERE record_id = :id", id=record_id)
        self._do("DELETE FROM audit_events WHERE id = :id", id=record_id)
        self._do("DELETE FROM audit_seals WHERE position = :p", p=row.p)
        if row.p < len(self.ids) and self._rng.random() < 0.5:
            self._do("UPDATE audit_seals SET position = -(position - 1) WHERE position > :p", p=row.p)
            self._do("UPDATE audit_seals SET position = -position WHERE position < 0")
            self._do("UPDATE audit_head SET position = position - 1")

    def _insert(self, record_id):
        self._do(
            "INSERT INTO audit_events (id, at, action, actor, study_instance_uid, detail)"
            " SELECT :new, at, action, 'nobody', study_instance_uid, detail FROM audit_events WHERE id = :like",
            new=record_id,
            like=self._some()[0],
        )

    def insert_in_place(self):
        """An id of the past that no record has."""
        self._insert(min(self.ids) - self._rng.randrange(1, 1000))

    def insert_with_seal(self):
        """A record in the midst, with a seal that fits what is before; what comes after moves on."""
        place = self._rng.randrange(1, len(self.ids))
        new = min(self.ids) - 1
        self._insert(new)
        self._do("UPDATE audit_seals SET position = -(position + 1) WHERE position > :p", p=place)
        self._do("UPDATE audit_seals SET position = -position WHERE position < 0")
        self._do(
            "INSERT INTO audit_seals (position, record_id, floor, sealed_at, head)"
            " SELECT :new_place, :new, floor, sealed_at, head FROM audit_seals WHERE position = :p",
            new=new,
            new_place=place + 1,
            p=place,
        )
        self._reseal(place + 1)
        self._do("UPDATE audit_head SET position = position + 1")

    def swap_records(self):
        one, other = self._some(2)
        for old, new in ((one, -one), (other, one), (-one, other)):
            self._do("UPDATE audit_events SET id = :new WHERE id = :old", new=new, old=old)

    def swap_seals(self):
        one, other = self._rng.sample(range(1, len(self.ids) + 1), 2)
        for old, new in ((one, -one), (other, one), (-one, other)):
            self._do("UPDATE audit_seals SET position = :new WHERE position = :old", new=new, old=old)

    def truncate_records(self):
        self._do("DELETE FROM audit_events WHERE id > :id", id=self._some()[0] - 1)

    def truncate_both(self):
        """The end of both; sometimes the row that says where the chain ends is made to fit."""
        keep = self._rng.randrange(1, len(self.ids))
        for record_id in self.ids[keep:]:
            self._do("DELETE FROM audit_events WHERE id = :id", id=record_id)
        self._do("DELETE FROM audit_seals WHERE position > :p", p=keep)
        if self._rng.random() < 0.5:
            self.what += " with the end"
            self._do(
                "UPDATE audit_head SET position = :p, head = (SELECT head FROM audit_seals WHERE position = :p),"
                " floor = (SELECT floor FROM audit_seals WHERE position = :p)",
                p=keep,
            )

    def reseal_one(self):
        """A record is changed, and its own seal, or all from it on, made to fit: only an anchor tells of the second."""
        place = self._rng.randrange(1, len(self.ids) + 1)
        self._set("audit_events", "actor", "nobody", "id", self.ids[place - 1])
        last = len(self.ids) if self._rng.random() < 0.5 else place
        self.what += f" to {'the end' if last == len(self.ids) else 'itself'}"
        for position in range(place, last + 1):
            head = self._reseal(position)
        if last == len(self.ids):
            self._do("UPDATE audit_head SET head = :head", head=head)

    def _reseal(self, position):
        """Compute a seal's head anew, by the agent's own rule, over what the row says now."""
        before = self._rows("SELECT head FROM audit_seals WHERE position = :p", p=position - 1)
        (row,) = self._rows(
            "SELECT s.record_id, s.floor, s.sealed_at, e.id, e.at, e.action, e.actor, e.study_instance_uid, e.detail"
            " FROM audit_seals s JOIN audit_events e ON e.id = s.record_id WHERE s.position = :p",
            p=position,
        )
        record = AuditRecord(
            id=row.id,
            at=row.at,
            action=row.action,
            actor=row.actor,
            study_instance_uid=row.study_instance_uid,
            detail=row.detail,
        )
        seal = Seal(position=position, record_id=row.record_id, floor=row.floor, sealed_at=row.sealed_at, head="")
        head = link(seal, record, before[0].head if before else "0" * 64)
        self._set("audit_seals", "head", head, "position", position)
        return head
