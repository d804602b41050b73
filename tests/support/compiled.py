"""SQL statements compiled once for all engines of a process: what one test has compiled, the next need not.

An engine keeps what it has compiled by its dialect, of which each has one of its own. Those of one class compile alike
here, since all of them speak to one version of each database.
"""

from contextlib import contextmanager

import pytest
from sqlalchemy.util import LRUCache

from triage_agent.worklist import engine as engines


class _Shared(LRUCache):
    """Statements by the class of what they were compiled for."""

    def get(self, key, default=None):
        return super().get(_alike(key), default)

    def __setitem__(self, key, statement):
        super().__setitem__(_alike(key), statement)


def _alike(key):
    dialect, *rest = key
    return (type(dialect), *rest)


@contextmanager
def compiled_once():
    """So it is in this block."""
    shared, real = _Shared(10_000), engines.create_engine

    def create(*arguments, **options):
        return real(*arguments, execution_options={"compiled_cache": shared}, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "create_engine", create)
        yield
