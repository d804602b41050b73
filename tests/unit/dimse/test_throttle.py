from triage_agent.dimse import throttle
from triage_agent.dimse.throttle import Throttle


class Time:
    now = 0.0

    def __call__(self):
        return self.now


def test_what_is_held_back_is_counted_and_reported_with_the_next_that_passes():
    time = Time()
    limited = Throttle(2, 60, time)
    assert [limited.admit("a") for _ in range(5)] == [0, 0, None, None, None]
    assert limited.admit("b") == 0
    time.now = 60
    assert limited.admit("a") == 3
    assert limited.admit("a") == 0


def test_only_so_many_keys_are_remembered(monkeypatch):
    monkeypatch.setattr(throttle, "_MOST_KEYS", 3)
    limited = Throttle(1, 60, Time())
    for number in range(100):
        assert limited.admit(str(number)) == 0
    assert len(limited._windows) == 3
