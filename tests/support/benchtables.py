"""The tables of the report, each from its file alone; what is not there is said not to be."""

from support import benchothers
from support.benchgoals import Goal, at, fixed, goals_table
from support.benchreading import MISSING, number, table

_WAIT = ("p50", "p90", "p95", "p99", "max")
_MOST_BACKLOG_SECONDS = 60


def _held_load(bench):
    """The load that was offered, where the day was held at it."""
    most = bench.at("day", "backlog_most_s")
    return bench.at("day", "load") if most is not None and most <= _MOST_BACKLOG_SECONDS else None


GOALS = (
    *benchothers.GOALS,
    Goal(
        "time to flag, 95 %, embedded bundle, 5 studies a second",
        at("flag", "embedded", "wait_s", "p95"),
        at("flag", "embedded", "goal_p95_s"),
        unit=" s",
    ),
    Goal(
        "time to flag, 95 %, a model of 50 ms",
        at("flag", "fixed model", "wait_s", "p95"),
        at("flag", "fixed model", "goal_p95_s"),
        unit=" s",
    ),
    Goal(
        "backlog on a day of 10,000 studies, at the most",
        at("day", "backlog_most_s"),
        fixed(_MOST_BACKLOG_SECONDS),
        digits=1,
        unit=" s",
    ),
    Goal("the load at which that day was held, times its own", _held_load, fixed(1), least=True, digits=1),
)


def goals(bench):
    return goals_table(bench, GOALS)


def flag(bench):
    """Ours beside those who wait."""
    rows = []
    for name, shown in (("embedded", "agent, embedded bundle"), ("fixed model", "agent, a model of 50 ms")):
        waits = bench.at("flag", name, "wait_s") or {}
        rows.append((shown, *(number(waits.get(one)) for one in _WAIT)))
    waits = bench.at("flag", "orthanc", "wait_s") or {}
    age, version = bench.at("flag", "orthanc", "stable_age_s"), bench.at("flag", "orthanc", "version")
    orthanc = "Orthanc, study stable" if age is None else f"Orthanc {version}, study stable (StableAge {age})"
    rows.append((orthanc, *(number(waits.get(one)) for one in _WAIT)))
    quiet = bench.at("flag", "documented", "mercure", "seconds")
    rows.append(
        ("mercure, series complete (documented)", *([f"{quiet} and more"] + [""] * 4 if quiet else [MISSING] * 5))
    )
    waits = table(("seconds", *("50 %", "90 %", "95 %", "99 %", "most")), rows)
    return f"{waits}\n\n{_stages(bench)}\n\n{bench.made('flag')}"


def _stages(bench):
    rows = []
    for name, shown in (
        ("received", "until the image is registered"),
        ("scored", "until it is scored, and its raise committed"),
        ("told", "until the RIS has the message"),
    ):
        each = bench.at("flag", "embedded", "stages_s", name) or {}
        rows.append((shown, number(each.get("p50"), 3), number(each.get("p95"), 3)))
    return table(("where the time goes (embedded bundle), seconds", "50 %", "95 %"), rows)


def day(bench):
    names = {
        "studies_a_day": ("studies a day", 0),
        "load": ("times as many at every hour", 1),
        "studies_sent": ("studies sent", 0),
        "studies_a_second_can": ("studies a second that the agent gets done", 2),
        "studies_a_second_peak": ("studies a second in the busiest hour", 2),
        "burst": ("studies of a burst", 0),
        "backlog_most_s": ("backlog at the most, seconds of work", 1),
        "agent_core_seconds_a_study": ("core seconds of the agent a study", 3),
    }
    rows = [(shown, number(bench.at("day", name), digits)) for name, (shown, digits) in names.items()]
    return f"{table(('a compressed day', 'measured'), rows)}\n\n{bench.made('day')}"


def growth(bench):
    """What of growth.json is there: first and last figure, and the exponent between."""
    parts = []
    for name in ("studies on sqlite", "studies on postgres", "waiting on sqlite", "waiting on postgres", "images"):
        part = bench.at("growth", name)
        if part:
            parts.append(_grown(name, part))
    loops = [_loops(name, bench.at("growth", name)) for name in ("loops on sqlite", "loops on postgres")]
    parts += [one for one in loops if one]
    return "\n\n".join([*parts, bench.made("growth")])


def _grown(name, part):
    runs, by = part["runs"], part["by"]
    sizes = [run[by] for run in runs]
    rows = []
    for kind, exponent in part["exponents"].items():
        times = [number(run["work"][kind]["p50_ms"], 2) for run in runs]
        rows.append((kind, *times, MISSING if exponent is None else f"{exponent:+.2f}"))
    rows.append(("memory of the process, MB", *(number(run.get("resident_mb"), 0) for run in runs), ""))
    if "database_mb" in runs[0]:
        rows.append(("database, MB", *(number(run["database_mb"], 0) for run in runs), ""))
    return table((f"{name}: ms at", *(f"{size:,}" for size in sizes), "exponent"), rows)


def _loops(name, part):
    if not part:
        return ""
    runs = part["runs"]
    head = (f"{name}", *(str(run["loops"]) for run in runs))
    return table(head, [("images a second", *(number(run["images_a_second"], 0) for run in runs))])


def routes(bench):
    """From decision to acknowledgement."""
    groups = bench.at("routes", "groups")
    if not groups:
        return bench.made("routes")
    rows = []
    for group in groups.values():
        for name, found in group["routes"].items():
            figures = (found["p50_ms"], found["p95_ms"], found["p99_ms"])
            rows.append((name, *(number(one, 0) for one in figures), found["acknowledged"]))
    return f"{table(('route, ms', '50 %', '95 %', '99 %', 'studies'), rows)}\n\n{bench.made('routes')}"


def queue(bench):
    """Results that waited for their PACS."""
    rows = [
        (kind, number(found["results_a_second"], 0), number(found["agent_core_ms"], 1), found["studies"])
        for kind, found in (bench.at("queue", "kinds") or {}).items()
    ]
    if not rows:
        return bench.made("queue")
    return f"{table(('result', 'a second', 'ms of a core', 'studies'), rows)}\n\n{bench.made('queue')}"


def lists(bench):
    """Pages at a million studies."""
    rows = []
    for database in ("sqlite", "postgres"):
        found = bench.at("site", f"lists on {database}") or {}
        wanted = found.get("wanted_p95_s")
        rows.append((database, number(found.get("p95_s"), 3), number(wanted, 3), found.get("slowest", MISSING)))
    return f"{table(('slowest list, seconds', '95 %', 'wanted', 'which'), rows)}\n\n{bench.made('site')}"


SECTIONS = {
    "goals": goals,
    "flag": flag,
    "day": day,
    "growth": growth,
    "routes": routes,
    "queue": queue,
    "lists": lists,
    **benchothers.SECTIONS,
}
