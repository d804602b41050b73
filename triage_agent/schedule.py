"""Ticks only: every deadline is a column, so a restart forgets nothing and a tick that is late only delays."""

import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor as TickExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.ports import Clock, StudyCounter, Worklist
from triage_agent.domain.study import AssemblyView, CompletenessRule
from triage_agent.domain.waits import LongestWaits
from triage_agent.intake.assembly import Complete, Fetch, Wait, assess
from triage_agent.intake.retention import Retention
from triage_agent.worklist.trail import AGENT

log = structlog.get_logger(__name__)

# What can fail: the look at one study, a question to the PACS, and the ticks by their names.
WORK = ("study", "question", "complete_due", "leases", "delete_originals", "empty_quarantine", "keep_reserve")

_COMPLETENESS_SECONDS = 0.5
_LEASES_SECONDS = 5.0
_LONGEST_LEASE = timedelta(minutes=1)  # that is not taken for one from before the clock was set back
_STOP_SECONDS = 4.0
_RETENTION_SECONDS = 60.0
_AFTER_A_FAILURE = timedelta(seconds=30)
_HOUR = 3600.0
_RENEWALS = 4  # in the time of one lease, so that a late tick or two cost nothing
_ASKERS = 4  # questions to the PACS in flight; a slow PACS delays questions, never quiet periods


class _SteadyScheduler(BackgroundScheduler):  # type: ignore[misc] # APScheduler has no types
    """Goes on ticking when the machine's clock is set back: APScheduler reckons by it, and would wait to catch up."""

    def _process_jobs(self) -> float | None:
        now, jobs = datetime.now(self.timezone), self.get_jobs()
        for job in jobs:
            if job.next_run_time is not None and job.next_run_time > now + 2 * job.trigger.interval:
                job.modify(next_run_time=now)
        seconds: float | None = super()._process_jobs()
        if seconds is None:
            return None
        # The clock may be set back between both looks at it: what is waited for then would be an hour away.
        intervals: list[float] = [job.trigger.interval.total_seconds() for job in jobs]
        return min([seconds, *intervals])


class Schedule:
    """Completes studies, keeps our leases and frees those of the dead."""

    def __init__(
        self,
        *,
        worklist: Worklist,
        rule: CompletenessRule,
        clock: Clock,
        counter: StudyCounter | None,
        completed: Callable[[], None],
        owners: Sequence[str],
        lease: timedelta,
        longest: LongestWaits | None = None,
        fetch_from: str = "",
        retention: Retention | None = None,
        reserve: Callable[[], None] | None = None,
        failed: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`owners` are the names under which this process holds work; `fetch_from` the peer that `rule.fetch` means.

        `longest` are the waits that this configuration sets; what waits longer was set before the clock was set back.
        `reserve` keeps room for the database. `failed` is told what of `WORK` failed, but for want of the database.
        """
        self._worklist = worklist
        self._rule = rule
        self._clock = clock
        self._counter = counter
        self._completed = completed
        self._owners = tuple(owners)
        self._lease = lease
        others = max(lease, _LONGEST_LEASE)  # who may hold for longer than we do
        self._longest = replace(longest or LongestWaits(), lease=others)
        self._fetch_from = fetch_from
        self._retention = retention
        self._reserve = reserve
        self._failed = failed
        self._asking: set[str] = set()
        self._lock = threading.Lock()
        self._askers = _Askers(_ASKERS)
        self._scheduler = _SteadyScheduler(
            executors={"default": TickExecutor(5)},  # as many as there are ticks: none waits for another
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )

    def start(self) -> None:
        """Begin to tick."""
        renewal = self._lease.total_seconds() / _RENEWALS
        ticks: list[tuple[Callable[[], None], float]]
        ticks = [(self.complete_due, _COMPLETENESS_SECONDS), (self.leases, min(renewal, _LEASES_SECONDS))]
        if (retention := self._retention) is not None:
            ticks += [(retention.delete_originals, _RETENTION_SECONDS), (retention.empty_quarantine, _HOUR)]
        if self._reserve is not None:
            ticks.append((self.keep_reserve, _RETENTION_SECONDS))
        for tick, seconds in ticks:
            self._scheduler.add_job(self._guarded, "interval", args=[tick], seconds=seconds, id=tick.__name__)
        self._scheduler.start()

    def stop(self) -> None:
        """Let the running tick end, start no other; nobody waits for what the PACS was asked.

        Nor for long: a tick may itself wait for a database that is away.
        """
        self._askers.stop()
        ending = threading.Thread(target=self._scheduler.shutdown, name="schedule-stop", daemon=True)
        ending.start()
        ending.join(_STOP_SECONDS)

    def complete_due(self) -> None:
        """Look at every study whose next check is due; asks the PACS outside this tick."""
        for view in self._worklist.due_for_completion(self._clock()):
            try:
                self._look_at(view)
            except WorklistUnavailableError:
                raise  # it is so for all of them
            except Exception as error:  # noqa: BLE001 - promise 2: what one study does costs no other
                # The one that is due first would else be met first by every tick, and stop each.
                self._tell_failed("study", view, error)
                self._wait(view, Wait(self._clock() + _AFTER_A_FAILURE, ask=False), asked=False)

    def _look_at(self, view: AssemblyView) -> None:
        """One study that is due."""
        step = assess(view, self._rule, self._clock())
        if isinstance(step, Complete):
            self._complete(view, step)
            return
        if isinstance(step, Fetch):
            self._fetch(view)
            return
        # Also while somebody is asked: studies that wait for an answer must not crowd out those that are due.
        self._wait(view, step, asked=False)
        if step.ask and self._counter is not None:
            self._ask(view, self._counter)

    def keep_reserve(self) -> None:
        """Make it again where it was given up and there is room; retention, which makes it, ticks as often."""
        if self._reserve is not None:
            self._reserve()

    def leases(self) -> None:
        """Keep what this process holds, and free what a dead one held, also one whose clock was ahead."""
        for owner in self._owners:
            self._worklist.renew_leases(owner, self._clock(), self._lease)
        if near := self._worklist.bring_deadlines_near(self._clock(), self._longest):
            log.warning("clock_was_set_back", deadlines=near)
            self._completed()
        if freed := self._worklist.expire_leases(self._clock()):
            log.warning("leases_expired", studies=freed)
            self._completed()

    def _guarded(self, tick: Callable[[], None]) -> None:
        """A tick that fails is logged, counted, and tried again at the next one."""
        try:
            tick()
        except WorklistUnavailableError as error:
            log.warning("worklist_unavailable", error=error.message)
        except Exception as error:  # noqa: BLE001 - as above
            log.error("tick_failed", tick=tick.__name__, **_told(error))  # noqa: TRY400
            self._failed(tick.__name__)

    def _complete(self, view: AssemblyView, step: Complete) -> None:
        if self._worklist.complete(view, step.reason, self._clock()):
            log.info("complete", study_instance_uid=view.study_instance_uid, instances=view.instances, why=step.reason)
            self._completed()

    def _wait(self, view: AssemblyView, step: Wait, *, asked: bool) -> None:
        self._worklist.check_later(
            view.study_instance_uid, view.revision, step.until, asked=asked, reason=step.reason, fetching=step.fetching
        )

    def _fetch(self, view: AssemblyView) -> None:
        """Have it fetched elsewhere; the next tick waits for that."""
        now, uid = self._clock(), view.study_instance_uid
        if self._worklist.want_retrieval(uid, self._fetch_from, now, requested_by=AGENT, revision=view.revision):
            log.info("fetching", study_instance_uid=uid, instances=view.instances, peer=self._fetch_from)
            self._completed()

    def _ask(self, view: AssemblyView, counter: StudyCounter) -> None:
        with self._lock:
            if view.study_instance_uid in self._asking:
                return
            self._asking.add(view.study_instance_uid)
        self._askers.submit(partial(self._asked, view, counter))

    def _asked(self, view: AssemblyView, counter: StudyCounter) -> None:
        failed = "question"
        try:
            images = counter.count_instances(view.study_instance_uid)
            failed = "study"
            step = assess(view, self._rule, self._clock(), images_at_peer=images)
            if isinstance(step, Complete):
                self._complete(view, step)
            elif isinstance(step, Fetch):
                self._fetch(view)
            else:
                self._wait(view, step, asked=True)
        except WorklistUnavailableError as error:
            log.warning("worklist_unavailable", error=error.message)
        except Exception as error:  # noqa: BLE001 - the quiet period decides then
            self._tell_failed(failed, view, error)
        finally:
            with self._lock:
                self._asking.discard(view.study_instance_uid)

    def _tell_failed(self, what: str, view: AssemblyView, error: Exception) -> None:
        event = "completeness_failed" if what == "study" else "asking_failed"
        log.error(event, study_instance_uid=view.study_instance_uid, **_told(error))
        self._failed(what)


class _Askers:
    """A few threads that ask; a ThreadPoolExecutor's would hold up the end of the process until the PACS answers."""

    def __init__(self, threads: int) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name=f"ask-pacs-{n}", daemon=True) for n in range(threads)]

    def submit(self, task: Callable[[], None]) -> None:
        """Do it when a thread is free; called by one thread at a time."""
        for thread in self._threads:
            if thread.ident is None:  # the first task starts them
                thread.start()
        self._tasks.put(task)

    def stop(self) -> None:
        """Begin no other task; the ones in hand are not waited for."""
        with suppress(Empty):
            while True:
                self._tasks.get_nowait()
        for _ in self._threads:
            self._tasks.put(None)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()


def _told(error: Exception) -> dict[str, object]:
    """What an error was and where, without its message, which may quote what a patient is called."""
    return {"error": type(error).__name__, "frames": [str(one) for one in traceback.extract_tb(error.__traceback__)]}
