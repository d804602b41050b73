"""Chromium before the pages, as people use them: a real server, a real database, a browser for each reader."""

import threading

import pytest
from playwright.sync_api import expect, sync_playwright
from support.programs import require_program
from support.served import PATIENCE, Served

expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(pytest.mark.external)


@pytest.fixture(scope="module")
def chromium():
    """One a module: while it runs, its loop is this thread's, which no other test may find."""
    program = require_program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def serve(chromium, tmp_path):
    """Makes a served hospital; in the end no page may have complained, nor asked any other host."""
    made = []

    def make(**settings):
        made.append(Served(tmp_path, chromium, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()
    assert [complaint for one in made for complaint in one.complaints] == []
    assert "web" not in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def served(serve):
    """One as most tests want it."""
    return serve()
