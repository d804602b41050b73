import threading
import warnings

import pytest

from triage_agent.domain.quiet import quiet


def test_quiet_keeps_warnings_in_and_restores_the_filters():
    before = list(warnings.filters)
    with quiet(), quiet():
        warnings.warn("not heard", stacklevel=1)
    assert warnings.filters == before
    with pytest.raises(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)


def test_overlapping_threads_leave_the_filters_as_they_were():
    before = list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def other():
        with quiet():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with quiet():
        thread.start()
        assert inside.wait(30)
    warnings.warn("still quiet, since the other is inside", stacklevel=1)
    leave.set()
    thread.join()
    assert warnings.filters == before
