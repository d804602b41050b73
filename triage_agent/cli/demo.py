"""`demo`: a whole hospital on this machine, to see the agent at work."""

import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydicom import Dataset
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from triage_agent.cli.options import JsonOption, extra_installed, print_json, stdout
from triage_agent.cli.tables import WorklistTable
from triage_agent.domain.vocabulary import ArtifactKind, Status
from triage_agent.settings import Settings, build_settings, load_settings

if TYPE_CHECKING:
    from triage_agent.bootstrap import Agent
    from triage_agent.domain.study import WorklistItem
    from triage_agent.simulation.pacs import SimulatedPacs
    from triage_agent.simulation.ris import SimulatedRis

_INSTITUTION = "Demonstration Hospital"
_QUIET_SECONDS = 3
_ABNORMAL_RATE = 0.35
_STAT_RATE = 0.15
_SEED = 1  # of the twelve studies it draws four are abnormal and three are ordered STAT
_PAUSE_SECONDS = 1.0
_REFRESH_SECONDS = 0.5
_GIVE_UP_SECONDS = 300
_SHOWN_REPORTS = 3
_IMAGE_LONG_SIDE = 1024


@dataclass
class _Hospital:
    """What stands around the agent, and what it has seen."""

    pacs: "SimulatedPacs"
    ris: "SimulatedRis"
    truth: dict[str, bool] = field(default_factory=dict)
    sent: int = 0
    failure: str | None = None

    @property
    def reports(self) -> list[Dataset]:
        return [each for each in self.pacs.objects if each.get("Modality") == "SR"]


def demo(
    studies: Annotated[int, typer.Option(min=1, help="How many studies the PACS sends.")] = 12,
    exit_when_done: Annotated[
        bool, typer.Option("--exit-when-done", help="End when every report is delivered.")
    ] = False,
    keep: Annotated[Path | None, typer.Option(help="Keep the worklist and the images in this folder.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed sends the same studies.")] = _SEED,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Take the institution, the model and the rules from this configuration."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """A simulated PACS sends simulated studies; watch the worklist reorder and the reports come back."""
    from triage_agent.ops.logging import configure_logging

    site = _site(config)
    with extra_installed("train"):
        import triage_agent.simulation.phantom  # noqa: F401 - what is missing is told before anything starts

    configure_logging("console", "error")  # the picture is the log; every study's whole story is in `study UID`
    started = time.monotonic()
    ends_by_itself = exit_when_done or as_json or not sys.stdout.isatty()
    with _hospital() as hospital, _data_dir(keep) as folder:
        from triage_agent.bootstrap import build_agent

        settings = _settings(folder, hospital, site)
        if not as_json:
            stdout.print("starting the agent: loading the model ...")
        with build_agent(settings, "all") as agent:
            sender = threading.Thread(target=_send_all, args=(hospital, settings, studies, seed), daemon=True)
            sender.start()
            items = _watch(agent, hospital, settings, studies, ends_by_itself=ends_by_itself, silent=as_json)
    done = _is_done(items, hospital, studies)
    _print_result(items, hospital, time.monotonic() - started, done=done, as_json=as_json)
    if not done:
        raise typer.Exit(1)


@contextmanager
def _hospital() -> Iterator[_Hospital]:
    from triage_agent.simulation.pacs import SimulatedPacs
    from triage_agent.simulation.ris import SimulatedRis

    pacs, ris = SimulatedPacs(), SimulatedRis()
    pacs.start()
    ris.start()
    try:
        yield _Hospital(pacs, ris)
    finally:
        pacs.stop()
        ris.stop()


@contextmanager
def _data_dir(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    folder = Path(tempfile.mkdtemp(prefix="triage-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _site(config: Path | None) -> dict[str, object]:
    """What the demonstration takes from a site's configuration; of the default one it takes nothing."""
    if config is None:
        return {}
    settings = load_settings(config)
    return {
        "institution": settings.institution or _INSTITUTION,
        "model": settings.model.model_dump(),
        # Its destinations are not here: whatever a rule names, results go to the demonstration's own.
        "policy": settings.policy.without_routes(),
    }


def _settings(folder: Path, hospital: _Hospital, site: Mapping[str, object]) -> Settings:
    """The agent's configuration, as a site would write it for one PACS and one RIS."""
    return build_settings(
        {
            "data_dir": folder,
            "institution": _INSTITUTION,
            "dicom": {
                "port": _free_port(),
                "peers": [
                    {
                        "name": "pacs",
                        "ae_title": hospital.pacs.ae_title,
                        "host": "127.0.0.1",
                        "port": hospital.pacs.port,
                        "may": ["store", "query"],
                    }
                ],
            },
            "hl7": {"peers": [{"name": "ris", "host": "127.0.0.1", "port": hospital.ris.port}]},
            "study": {
                "quiet_seconds": _QUIET_SECONDS,
                "ask_peer": "pacs",
                "ask_after_seconds": 1,
                "ask_steady_seconds": 0,
            },
            "routes": [
                {"to": "pacs", "send": [ArtifactKind.SR]},
                {"to": "ris", "send": [ArtifactKind.HL7_ORU]},
            ],
            "web": {"port": _free_port()},
            "storage": {"low_water_percent": 1},
            **site,
        },
        "the demonstration",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _drawn(studies: int, seed: int) -> list[tuple[bool, bool]]:
    """Whether each study is abnormal, and whether it is ordered STAT."""
    chance = random.Random(seed)  # noqa: S311 - a demonstration
    return [(chance.random() < _ABNORMAL_RATE, chance.random() < _STAT_RATE) for _ in range(studies)]


def _send_all(hospital: _Hospital, settings: Settings, studies: int, seed: int) -> None:
    """The PACS's side: one study after another, of every region, some of them ordered STAT."""
    try:
        from triage_agent.simulation.phantom import ANATOMIES, simulate_study, study_datasets

        for number, (abnormal, stat) in enumerate(_drawn(studies, seed)):
            anatomy = ANATOMIES[number % len(ANATOMIES)]
            study = simulate_study(anatomy, abnormal, seed * 1000 + number, long_side=_IMAGE_LONG_SIDE)
            datasets = study_datasets(study, seed * 1000 + number, now=datetime.now(UTC))
            if stat:
                for dataset in datasets:
                    dataset.RequestedProcedurePriority = "STAT"
            hospital.truth[str(datasets[0].StudyInstanceUID)] = abnormal
            hospital.pacs.send(datasets, settings.dicom.host, settings.dicom.port, settings.dicom.ae_title)
            hospital.sent += 1
            time.sleep(_PAUSE_SECONDS)
    except Exception as error:  # noqa: BLE001 - shown to the person who watches
        hospital.failure = f"{type(error).__name__}: {error}"


def _watch(
    agent: "Agent", hospital: _Hospital, settings: Settings, studies: int, *, ends_by_itself: bool, silent: bool
) -> "list[WorklistItem]":
    """Show the list until everything is delivered (and, with a person watching, until Ctrl-C)."""
    deadline = time.monotonic() + _GIVE_UP_SECONDS + studies * 10
    items: list[WorklistItem] = []

    def look() -> bool:
        items[:] = agent.worklist.items(limit=studies + 1)
        done = _is_done(items, hospital, studies)
        return (done and ends_by_itself) or hospital.failure is not None or time.monotonic() > deadline

    if silent or not sys.stdout.isatty():
        _until(look)
        return items
    with Live(console=stdout, auto_refresh=False, screen=False) as live:

        def look_and_show() -> bool:
            ended = look()
            live.update(_screen(items, hospital, settings, studies), refresh=True)
            return ended

        with suppress(KeyboardInterrupt):
            _until(look_and_show)
    return items


def _until(ended: Callable[[], bool]) -> None:
    while not ended():
        time.sleep(_REFRESH_SECONDS)


def _is_done(items: "list[WorklistItem]", hospital: _Hospital, studies: int) -> bool:
    """Every study decided and every report delivered."""
    reported = {str(report.StudyInstanceUID) for report in hospital.reports}
    return (
        len(items) == studies
        and all(item.status is Status.DELIVERED for item in items)
        and {item.study_instance_uid for item in items} <= reported
    )


def _screen(items: "list[WorklistItem]", hospital: _Hospital, settings: Settings, studies: int) -> Group:
    web = f"http://{settings.web.host}:{settings.web.port}"
    head = Text.assemble(
        ("triage-agent demo  ", "bold"),
        f"{hospital.sent} of {studies} studies sent by the PACS, {len(hospital.reports)} reports back at the PACS, ",
        f"{len(hospital.ris.messages)} HL7 messages at the RIS. Health: {web}/readyz  Metrics: {web}/metrics",
    )
    done = _is_done(items, hospital, studies)
    end = Text("Ctrl-C ends it; the reports are printed then", style="bold green" if done else "dim")
    if done:
        end = Text.assemble("All delivered. ", end)
    above = Group(head, *_invitation(settings), end, WorklistTable(items, datetime.now(UTC), status_lines=1))
    room = stdout.height - len(stdout.render_lines(above)) - 1
    known = {item.study_instance_uid: item for item in items}
    return Group(above, *(_report_line(report, known) for report in hospital.reports[-max(1, room) :]))


def _invitation(settings: Settings) -> list[Text]:
    """How to look at the same list in a browser: the link of this demonstration's own account, on loopback."""
    from triage_agent.signing_in import first_link

    link = first_link(settings)
    if link is None:
        return []
    says = "  It opens once; asked are a password for `admin` and an authenticator app."
    return [Text(f"Pages: {link}", overflow="fold"), Text(says, style="dim")]


def _report_line(report: Dataset, known: "Mapping[str, WorklistItem]") -> Text:
    """A report on a screen that has no room for it: what came, and what the list says of its study."""
    item = known.get(str(report.StudyInstanceUID))
    facts = []
    if item is not None and item.finding is not None:
        probability = [] if item.probability is None else [f"{item.probability:.2f}"]
        facts = [item.finding.replace("_", " "), *probability, item.priority.value]
    line = f"SR for {report.get('AccessionNumber', '')}"
    return Text(f"{line}: {', '.join(facts)}" if facts else line, no_wrap=True, overflow="ellipsis")


def _report_panel(report: Dataset) -> Panel:
    from triage_agent.results.words import report_in_words

    return Panel(
        Text("\n".join(report_in_words(report))),
        title=f"SR received by the PACS for accession {report.get('AccessionNumber', '')}",
        title_align="left",
    )


def _print_result(
    items: "list[WorklistItem]", hospital: _Hospital, seconds: float, *, done: bool, as_json: bool
) -> None:
    known = [item for item in items if item.study_instance_uid in hospital.truth]
    settled = [item for item in known if item.finding in {"abnormal", "normal"}]
    right = sum((item.finding == "abnormal") is hospital.truth[item.study_instance_uid] for item in settled)
    facts = {
        "done": done,
        "seconds": round(seconds, 1),
        "studies_sent": hospital.sent,
        "studies_on_worklist": len(items),
        "reports_at_pacs": len(hospital.reports),
        "hl7_messages_at_ris": len(hospital.ris.messages),
        "studies_called_normal_or_abnormal": len(settled),
        "findings_that_match_the_simulation": right,
        "failure": hospital.failure,
        "worklist": items,
    }
    if as_json:
        print_json(facts)
        return
    if not sys.stdout.isatty():
        stdout.print(WorklistTable(items, datetime.now(UTC)))
    for report in hospital.reports[-_SHOWN_REPORTS:]:
        stdout.print(_report_panel(report))
    stdout.print(
        f"{hospital.sent} studies sent, {len(hospital.reports)} reports back at the PACS, "
        f"{len(hospital.ris.messages)} HL7 messages at the RIS, "
        f"{len(settled)} studies called normal or abnormal, {right} of them as simulated, "
        f"{len(known) - len(settled)} left open, {seconds:.0f} s"
    )
    if hospital.failure:
        stdout.print(f"the simulated PACS failed: {hospital.failure}", style="red")
