"""`bundle zero-shot`: a model for a site that has no training data."""

from pathlib import Path
from typing import Annotated

import typer

from triage_agent.cli.options import ConfigOption, JsonOption, check_config, extra_installed, print_json, stderr, stdout


def zero_shot(
    out: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    encoder: Annotated[
        str,
        typer.Option(
            help="Folder or hub id (owner/name or owner/name@revision) of MedSigLIP, which compares radiographs with "
            "sentences, or of an instruction-tuned MedGemma (-it), which is asked a yes-or-no question."
        ),
    ] = "google/medsiglip-448",
    prompts: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="TOML with sentences and questions by region, in place of the built-in ones "
            "(triage_agent/models/prompts.toml, whose comments say what the keys mean).",
        ),
    ] = None,
    anatomy: Annotated[
        list[str] | None,
        typer.Option(help="A region to assess, as XR_KNEE; repeat it for more. All that the prompts have if left out."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="A MURA-layout folder: its train split calibrates and sets thresholds, its valid split is measured. "
            "Without one the bundle says that it is uncalibrated.",
        ),
    ] = None,
    studies: Annotated[int, typer.Option(min=1, help="Calibrate on at most so many studies.")] = 400,
    seed: Annotated[int, typer.Option(help="Fixes which studies.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    name: Annotated[str, typer.Option(help="The bundle's name.")] = "",
    version: Annotated[str, typer.Option(help="The bundle's version.")] = "1",
    licence: Annotated[str, typer.Option(help="Terms of the weights, where the encoder does not bring its own.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a bundle that needs no training: MedSigLIP text prompts, or a yes-or-no question to MedGemma-it.

    Prompts are kept in the bundle and covered by its digest. Thresholds are 0.5 and 0.9 unless --data sets them.
    """
    check_config(config)
    with extra_installed("train"):
        from triage_agent.learning.zero_shot import ZeroShotOptions, make_zero_shot

    options = ZeroShotOptions(
        encoder=encoder,
        out=out,
        prompts=prompts,
        anatomies=tuple(anatomy or ()),
        data=tuple(data or ()),
        studies=studies,
        seed=seed,
        device=device,
        name=name,
        version=version,
        licence=licence,
    )
    folder = make_zero_shot(options, lambda line: stderr.print(line, markup=False, highlight=False))
    if as_json:
        print_json({"bundle": folder})
    else:
        stdout.print(f"bundle in {folder}", highlight=False)
