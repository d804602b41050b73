"""`triage` and `phantom`: scoring files with no PACS and no database, and files to try it with."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated

import typer
from pydicom import Dataset
from rich import box
from rich.table import Table
from rich.text import Text

from triage_agent.cli.learning import progress_bar
from triage_agent.cli.options import ConfigOption, JsonOption, check_config, extra_installed, print_json, stdout, tell
from triage_agent.domain.decision import Decision
from triage_agent.domain.errors import TriageError, UnreadableImageError
from triage_agent.domain.study import Assessment, ClaimedStudy, StoredInstance
from triage_agent.domain.uids import is_uid, stand_in_series_uid
from triage_agent.domain.visible import visible
from triage_agent.domain.vocabulary import ArtifactKind, Event, Outcome, Priority
from triage_agent.settings import Settings, load_settings

if TYPE_CHECKING:
    from triage_agent.domain.ports import ImageScorer
    from triage_agent.imaging.loader import Loader

_BATCH = 8
_SHORT = 60  # characters


@dataclass(frozen=True)
class DicomFile:
    """A DICOM file named on the command line, with what its header says."""

    path: Path
    header: Dataset

    @property
    def study_uid(self) -> str:
        """The study's UID, or a stand-in that says where it is missing."""
        return str(self.header.get("StudyInstanceUID", "")) or f"unknown ({self.path.name})"

    @property
    def instance_uid(self) -> str:
        """The SOP Instance UID, or the path where it is missing."""
        return str(self.header.get("SOPInstanceUID", "")) or str(self.path)


@dataclass(frozen=True)
class _Result:
    """A study's decision, what it was made of, and where its report lies."""

    decision: Decision
    members: Sequence[DicomFile]
    assessments: Sequence[Assessment]
    report: Path | None


def triage(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="DICOM files or folders.")],
    bundle: Annotated[
        str | None, typer.Option(help="\"embedded\" or a bundle's folder; else the configuration's.")
    ] = None,
    sr: Annotated[Path | None, typer.Option(help="Write a structured report a study into this folder.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score DICOM files or folders with no PACS and no database; a line a study.

    Studies are decided as `serve` would decide them with this bundle: policy, allowed error rate, outlier limit, device
    and encoder are the configuration's, also with --bundle.
    """
    from triage_agent.bootstrap import build_loader

    settings = load_settings(config)
    with build_loader(settings) as loader:
        results = _triaged(paths, settings, loader, bundle, sr)
    if as_json:
        print_json([_as_json(result) for result in results])
    else:
        stdout.print(_table(results))
    if sr is not None and any(one.report is None and one.decision.event is Event.DECIDED for one in results):
        raise typer.Exit(1)


def _triaged(
    paths: Sequence[Path], settings: Settings, loader: "Loader", bundle: str | None, sr: Path | None
) -> list[_Result]:
    """Every study that the paths hold, with its report where one is asked for and can be written."""
    from triage_agent.bootstrap import build_policy, build_scorer
    from triage_agent.decision.policy import decide, of_several_patients
    from triage_agent.results.header import name_several_patients

    files = list(dicom_files(paths, loader))
    if not files:
        raise TriageError("no DICOM file there", remedy="name DICOM files (Part 10) or folders that hold some")
    scorer = build_scorer(settings, bundle)
    policy = build_policy(settings)
    studies: dict[str, list[DicomFile]] = defaultdict(list)
    for file in files:
        studies[file.study_uid].append(file)
    results = []
    with progress_bar() as progress:
        task = progress.add_task("scoring", total=len(files))
        for uid, members in studies.items():
            assessments = _assess(members, scorer, loader, lambda done: progress.advance(task, done))
            decision = decide(_as_claimed(uid, members), assessments, scorer.identity, policy, datetime.now(UTC))
            if name_several_patients([file.header for file in members]):
                decision = of_several_patients(decision)
            report = None
            if sr is not None and decision.event is Event.DECIDED:
                report = _write_sr(sr, decision, members, assessments, settings.institution)
            results.append(_Result(decision, members, assessments, report))
    return results


def dicom_files(paths: Sequence[Path], loader: "Loader") -> Iterator[DicomFile]:
    """Every readable DICOM file; what is none is named on stderr, and skipped silently only inside folders.

    Raises:
        DecoderUnavailableError: nothing can be read.
    """
    for named in paths:
        for path in sorted(each for each in named.rglob("*") if each.is_file()) if named.is_dir() else [named]:
            try:
                header = loader.header(path)
            except UnreadableImageError as error:
                if not named.is_dir():
                    tell(f"{path}: {error}")
                continue
            if "SOPClassUID" in header and path.name != "DICOMDIR":
                yield DicomFile(path, header)


def _assess(
    members: Sequence[DicomFile], scorer: "ImageScorer", loader: "Loader", advance: Callable[[int], None]
) -> list[Assessment]:
    from triage_agent.assessing import score_loaded
    from triage_agent.imaging.loader import load_instance

    assessments: list[Assessment] = []
    for start in range(0, len(members), _BATCH):
        batch = members[start : start + _BATCH]
        loaded = [(file.instance_uid, load_instance(loader, file.path)) for file in batch]
        assessments += score_loaded(loaded, scorer)
        advance(len(batch))
    return assessments


def _as_claimed(uid: str, members: Sequence[DicomFile]) -> ClaimedStudy:
    """The files of a study as the worklist would hand them to a worker."""
    now = datetime.now(UTC)
    return ClaimedStudy(
        study_instance_uid=uid,
        revision=1,
        priority=Priority.ROUTINE,
        attempt=1,
        instances=tuple(
            StoredInstance(
                sop_instance_uid=file.instance_uid,
                series_instance_uid=_series_uid(uid, file.header),
                sop_class_uid=str(file.header.get("SOPClassUID", "")),
                transfer_syntax_uid="",
                path=str(file.path),
                received_at=now,
            )
            for file in members
        ),
    )


def _series_uid(study_uid: str, header: Dataset) -> str:
    uid = str(header.get("SeriesInstanceUID", ""))
    return uid if is_uid(uid) else stand_in_series_uid(study_uid)


def _write_sr(
    folder: Path,
    decision: Decision,
    members: Sequence[DicomFile],
    assessments: Sequence[Assessment],
    institution: str,
) -> Path | None:
    """Write a study's report and return its path; where there can be none, say why on stderr and return None."""
    from triage_agent.results.building import build_each
    from triage_agent.results.context import ResultContext

    context = ResultContext(
        result=decision,
        headers=tuple(file.header for file in members),
        assessments=tuple(assessments),
        stored=_as_claimed(decision.study_instance_uid, members).instances,
        institution=institution,
    )
    report = (ArtifactKind.SR, context.form)
    artifacts, problems = build_each({report: context})
    for problem in problems:
        tell(f"{decision.study_instance_uid}: {problem}")
    artifact = artifacts.get(report)
    if artifact is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{artifact.uid}.dcm"
    path.write_bytes(artifact.body)
    return path


def _as_json(result: _Result) -> dict[str, object]:
    decision = result.decision
    return {
        "study_instance_uid": decision.study_instance_uid,
        "finding": decision.finding,
        "probability": decision.probability,
        "priority": decision.priority,
        "reasons": decision.reasons,
        "instances": [
            {
                "sop_instance_uid": assessment.sop_instance_uid,
                "path": file.path,
                "scored": assessment.outcome is Outcome.SCORED,
                "probability": assessment.probability if assessment.outcome is Outcome.SCORED else None,
                "reason": assessment.reason or None,
                "anatomy": assessment.anatomy,
                "seen_anatomy": assessment.seen_anatomy,
            }
            for file, assessment in zip(result.members, result.assessments, strict=True)
        ],
        "report": result.report,
    }


def _table(results: Sequence[_Result]) -> Table:
    """A line a study; a report's path stands under the UID of the study it is about."""
    study = "Study" if all(result.report is None for result in results) else "Study, report"
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("Priority", "Finding", "Prob.", "Region", study, "Why"):
        table.add_column(name, no_wrap=name not in {study, "Why"}, overflow="fold")
    for result in sorted(results, key=lambda one: (-one.decision.priority.rank, -(one.decision.probability or 0.0))):
        decision = result.decision
        table.add_row(
            decision.priority.value.upper(),
            decision.finding.value.replace("_", " "),
            "" if decision.probability is None else f"{decision.probability:.2f}",
            (decision.anatomy or "").removeprefix("XR_").lower(),
            Text("\n".join(visible(str(part)) for part in (decision.study_instance_uid, result.report) if part)),
            Text(visible(_why(result))),
        )
    return table


def _why(result: _Result) -> str:
    """The reason in a short line; `--json` has all of them whole."""
    from triage_agent.decision.reasons import in_short
    from triage_agent.decision.tally import Tally

    decision = result.decision
    if decision.probability is None:
        return shorten(decision.reasons[0] if decision.reasons else "", _SHORT, placeholder=" ...")
    stored = _as_claimed(decision.study_instance_uid, result.members).instances
    return in_short(Tally.of(stored, result.assessments, decision.model), decision.model)


def phantom(
    out: Annotated[Path, typer.Argument(help="An empty or new folder.")],
    studies: Annotated[int, typer.Option(min=1, help="How many studies.")] = 10,
    anatomy: Annotated[str | None, typer.Option(help="Only this region, such as XR_WRIST.")] = None,
    abnormal_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of abnormal studies.")] = 0.5,
    seed: Annotated[int, typer.Option(help="The same seed makes the same studies.")] = 0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write simulated radiographs as DICOM studies, with their truth in truth.csv."""
    check_config(config)
    with extra_installed("train"):
        from triage_agent.simulation.phantom import ANATOMIES, write_studies

    if anatomy is not None and anatomy not in ANATOMIES:
        raise typer.BadParameter(f"unknown anatomy {anatomy!r}; known are {', '.join(ANATOMIES)}")
    with progress_bar() as progress:
        task = progress.add_task("simulating", total=studies)
        rows = write_studies(
            out,
            studies,
            anatomy=anatomy,
            abnormal_rate=abnormal_rate,
            seed=seed,
            now=datetime.now(UTC),
            progress=lambda done, _total: progress.update(task, completed=done),
        )
    if as_json:
        print_json(rows)
    else:
        stdout.print(f"{len(rows)} studies in {out}, truth in {out / 'truth.csv'}", highlight=False)
