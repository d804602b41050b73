"""Between a page's address and a question to the readers' list."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import HTTPException

from triage_agent.domain.reading import ListQuestion, Order, Place
from triage_agent.domain.vocabulary import Priority, Status

A_PAGE = 50
DAYS = {"1": "a day", "3": "3 days", "7": "a week", "30": "30 days", "all": "all"}
_USUAL_DAYS = "7"
_LONGEST = 64
_KEYS = frozenset({"q", "priority", "status", "region", "days", "read", "order", "after"})


@dataclass(frozen=True, slots=True)
class View:
    """What a list shows, as its address says; equal views are one, whoever looks."""

    text: str = ""
    priority: Priority | None = None
    status: Status | None = None
    region: str = ""
    days: str = _USUAL_DAYS
    read: bool = False
    order: Order = Order.BEST_FIRST
    after: Place | None = None

    def question(self, now: datetime) -> ListQuestion:
        """For the list."""
        since = None if self.days == "all" else now - timedelta(days=int(self.days))
        return ListQuestion(
            status=self.status,
            priority=self.priority,
            region=self.region,
            text=self.text,
            since=since,
            read=self.read,
            order=self.order,
            after=self.after,
            limit=A_PAGE,
        )

    def address(self, **changes: Any) -> str:
        """The query of this view, or of one that differs; what is usual is left out."""
        view = replace(self, **changes)
        said = {
            "q": view.text,
            "priority": view.priority,
            "status": view.status,
            "region": view.region,
            "days": "" if view.days == _USUAL_DAYS else view.days,
            "read": "1" if view.read else "",
            "order": "" if view.order is Order.BEST_FIRST else view.order,
            "after": "" if view.after is None else _written(view.after),
        }
        return urlencode({key: value for key, value in said.items() if value})


def view_of(query: Mapping[str, str]) -> View:
    """The view that an address asks for.

    Raises:
        HTTPException: 400 where a value is none; it is not repeated.
    """
    try:
        return View(
            text=" ".join(query.get("q", "").split())[:_LONGEST],
            priority=Priority(query["priority"]) if query.get("priority") else None,
            status=Status(query["status"]) if query.get("status") else None,
            region=query.get("region", "")[:_LONGEST],
            days=_known_days(query),
            read=query.get("read", "") == "1",
            order=Order(query["order"]) if query.get("order") else Order.BEST_FIRST,
            after=_place(query["after"]) if query.get("after") else None,
        )
    except ValueError:
        raise HTTPException(400, "The address has a value that cannot be understood.") from None


def _known_days(query: Mapping[str, str]) -> str:
    days = query.get("days") or _USUAL_DAYS
    if days not in DAYS or query.keys() - _KEYS:
        raise ValueError(days)
    return days


def _written(place: Place) -> str:
    said = [place.priority.value, place.probability, place.received_at.isoformat(), place.study_instance_uid]
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")


def _place(text: str) -> Place:
    """The end of the page before.

    Raises:
        ValueError: it is none of ours.
    """
    try:
        priority, probability, received_at, uid = json.loads(
            base64.urlsafe_b64decode(text[:400] + "=" * (-len(text) % 4))
        )
        return Place(
            priority=Priority(priority),
            probability=None if probability is None else float(probability),
            received_at=datetime.fromisoformat(received_at).astimezone(UTC),
            study_instance_uid=str(uid)[:_LONGEST],
        )
    except (binascii.Error, TypeError, RecursionError, OverflowError) as error:
        raise ValueError(text) from error
