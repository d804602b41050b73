"""`explain`: a picture of where a score comes from. Nothing else makes one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triage_agent.cli.learning import progress_bar
from triage_agent.cli.options import ConfigOption, JsonOption, extra_installed, print_json, stdout, tell
from triage_agent.cli.scoring import DicomFile, dicom_files
from triage_agent.domain.errors import TriageError, UnreadableImageError
from triage_agent.domain.uids import is_uid
from triage_agent.settings import Settings, load_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from triage_agent.imaging.loader import Loader
    from triage_agent.models.explain import Explainer


def explain(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="DICOM files or folders.")],
    out: Annotated[Path, typer.Option(help="Write a PNG an image into this folder.")],
    bundle: Annotated[
        str | None, typer.Option(help="\"embedded\" or a bundle's folder; else the configuration's.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="gradient; for vision transformers also relevance and rollout.")
    ] = "gradient",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show on each radiograph what its score leans on. A map is not a finding; no other command makes one.

    Pictures are named by SOP Instance UID and carry no text of the header. Images that say that text is burned into
    them are left out.
    """
    from triage_agent.bootstrap import build_loader

    settings = load_settings(config)
    with build_loader(settings) as loader:
        rows = _explain_all(paths, out, settings, loader, bundle, method)
    _report(rows, as_json=as_json)
    if all(row["png"] is None for row in rows):
        raise typer.Exit(1)


def _explain_all(
    paths: Sequence[Path], out: Path, settings: Settings, loader: "Loader", bundle: str | None, method: str
) -> list[dict[str, object]]:
    files = list(dicom_files(paths, loader))
    if not files:
        raise TriageError("no DICOM file there", remedy="name DICOM files (Part 10) or folders that hold some")
    with extra_installed("gpu"):
        from triage_agent.models.bundle import load_bundle
        from triage_agent.models.explain import load_explainer

        model = settings.model
        explainer = load_explainer(load_bundle(bundle or model.bundle), model.device, model.encoder)
    if method not in explainer.methods:
        raise typer.BadParameter(f"this bundle has no {method!r} map; it has {', '.join(explainer.methods)}")
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar() as progress:
        tracked = enumerate(progress.track(files, description="explaining"), start=1)
        return [_explained(file, number, explainer, loader, method, out) for number, file in tracked]


def _explained(
    file: DicomFile, number: int, explainer: "Explainer", loader: "Loader", method: str, out: Path
) -> dict[str, object]:
    from triage_agent.models.overlay import overlay, png

    row: dict[str, object] = {"sop_instance_uid": file.instance_uid, "path": file.path, "png": None, "reason": None}
    try:
        display, anatomy = _display(file, loader)
    except UnreadableImageError as error:
        return {**row, "reason": error.message}
    heat = explainer.map(display, method)
    probability = explainer.probability(display, anatomy)
    path = out / f"{file.instance_uid if is_uid(file.instance_uid) else f'image-{number}'}.png"
    path.write_bytes(png(overlay(display, heat), _caption(explainer, method)))
    return {**row, "png": path, "probability": probability, "method": method}


def _display(file: DicomFile, loader: "Loader") -> "tuple[NDArray[np.float32], str | None]":
    """The image as the model sees it and its region.

    Raises:
        UnreadableImageError: it is none that is scored, or it shows what must not leave with a picture.
    """
    from triage_agent.imaging.load import Skipped
    from triage_agent.imaging.loader import load_instance

    if str(file.header.get("BurnedInAnnotation", "")).strip().upper() == "YES":
        raise UnreadableImageError("its header says that text is burned into the image: it may name the patient")
    loaded = load_instance(loader, file.path)
    if isinstance(loaded, UnreadableImageError):
        raise loaded
    if isinstance(loaded, Skipped):
        raise UnreadableImageError(loaded.reason)
    return loaded.image, loaded.region.code


def _caption(explainer: "Explainer", method: str) -> str:
    from triage_agent.models.overlay import NO_FINDING

    model = explainer.bundle.identity if explainer.bundle is not None else None
    words = [NO_FINDING, f"What the score leans on ({method})"]
    if model is not None:
        words[-1] += f"; {model.name} {model.version}, {model.digest[:12]}"
        words[-1] += "" if model.clinical_use else "; not for clinical use"
    return " ".join(words) + "."


def _report(rows: Sequence[dict[str, object]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    for row in rows:
        if row["png"] is None:
            tell(f"{row['path']}: {row['reason']}")
        else:
            stdout.print(str(row["png"]), markup=False, highlight=False, soft_wrap=True)
