"""Saved views on both databases: an account's own, so many and no more, and no row is ever deleted."""

import pytest
from sqlalchemy import func, select
from support.story import T0

from triage_agent.domain.accounts import Account, Role
from triage_agent.domain.saved_views import MOST_VIEWS
from triage_agent.worklist import SqlAccounts, SqlSavedViews, SqlWorklist
from triage_agent.worklist.saved_views import SavedViewRow


@pytest.fixture
def database(engine):
    found = SqlWorklist(engine).database
    for name in ("ada", "bob"):
        SqlAccounts(found).make_account(Account(name=name, roles=frozenset({Role.RADIOLOGIST})), "test", T0)
    return found


@pytest.fixture
def views(database):
    return SqlSavedViews(database)


def names(views, account="ada"):
    return {one.name: one.query for one in views.of(account)}


def test_a_view_is_its_owners_alone(views):
    assert views.save("ada", "Knees", "region=XR_KNEE", T0)
    assert names(views) == {"Knees": "region=XR_KNEE"}
    assert names(views, "bob") == {}
    assert not views.remove("bob", views.of("ada")[0].number, T0)
    assert names(views) == {"Knees": "region=XR_KNEE"}


def test_another_of_the_same_name_is_refused(views):
    assert views.save("ada", "Mine", "days=1", T0)
    assert views.save("ada", "Mine", "days=1", T0)
    assert not views.save("ada", "Mine", "days=3", T0)
    assert names(views) == {"Mine": "days=1"}


def test_there_are_so_many_and_places_are_used_again(views, database):
    assert all(views.save("ada", f"View {number}", "days=1", T0) for number in range(MOST_VIEWS))
    assert not views.save("ada", "One more", "days=1", T0)
    assert not views.save("ada", "View 3", "days=3", T0)
    assert views.remove("ada", 5, T0)
    assert not views.remove("ada", 5, T0)
    assert views.save("ada", "One more", "days=1", T0)
    assert len(names(views)) == MOST_VIEWS
    counted = database.read(lambda session: session.scalar(select(func.count()).select_from(SavedViewRow)))
    assert counted == MOST_VIEWS
