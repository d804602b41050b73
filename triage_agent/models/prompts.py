"""The sentences and questions of zero-shot bundles, as a site writes them: one TOML file for all regions.

The built-in file, `prompts.toml`, says in its comments what the keys mean.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from triage_agent.domain.errors import ConfigurationError
from triage_agent.models.spec import PromptSet, Sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

BUILT_IN = Path(__file__).with_name("prompts.toml")
_REGION = "{region}"
_RegionCode = Annotated[str, StringConstraints(pattern=r"^XR_[A-Z_]+$", max_length=50)]


class RegionPrompts(BaseModel):
    """What is said of one region; what is left out is the default's.

    Attributes:
        name: what `{region}` becomes: "a knee".
        abnormal, normal: sentences about each kind of radiograph.
        question: a question whose answer is yes for an abnormal radiograph.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Sentence
    abnormal: tuple[Sentence, ...] = ()
    normal: tuple[Sentence, ...] = ()
    question: Sentence | None = None


class Prompts(BaseModel):
    """A whole file of prompts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default: RegionPrompts
    regions: dict[_RegionCode, RegionPrompts] = Field(default_factory=dict)

    def chosen(self, anatomies: Sequence[str]) -> tuple[str, ...]:
        """The regions of a bundle, sorted: `anatomies`, or all that the file has where none are named.

        Raises:
            ConfigurationError: a region is not in the file.
        """
        unknown = sorted(set(anatomies) - set(self.regions))
        if unknown:
            known = ", ".join(sorted(self.regions)) or "none"
            raise ConfigurationError(f"no prompts for {', '.join(unknown)}", remedy=f"the file has {known}; add them")
        return tuple(sorted(set(anatomies) or set(self.regions)))

    def sentences(self, region: str | None) -> PromptSet:
        """A region's sentences with its name in them; None asks for the default.

        Raises:
            ConfigurationError: there are none for one of the classes.
        """
        own = self._of(region)
        abnormal, normal = own.abnormal or self.default.abnormal, own.normal or self.default.normal
        if not abnormal or not normal:
            raise ConfigurationError(
                f"no {'normal' if abnormal else 'abnormal'} sentences for {region or 'default'}",
                remedy="give both classes in [default]",
            )
        return PromptSet(
            abnormal=tuple(text.replace(_REGION, own.name) for text in abnormal),
            normal=tuple(text.replace(_REGION, own.name) for text in normal),
        )

    def question(self, region: str | None) -> str:
        """A region's question with its name in it; None asks for the default.

        Raises:
            ConfigurationError: there is none.
        """
        own = self._of(region)
        question = own.question or self.default.question
        if question is None:
            raise ConfigurationError(f"no question for {region or 'default'}", remedy="give one in [default]")
        return question.replace(_REGION, own.name)

    def _of(self, region: str | None) -> RegionPrompts:
        return self.default if region is None else self.regions[region]


def read_prompts(path: Path | None = None) -> Prompts:
    """A site's file of prompts, or the built-in one.

    Raises:
        ConfigurationError: the file cannot be read, is no TOML, or has other keys than it should.
    """
    where = path or BUILT_IN
    try:
        return Prompts.model_validate(tomllib.loads(where.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"{where}: {place}: {first['msg']}", remedy=f"{BUILT_IN} shows the keys") from error
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{where} is no file of prompts: {reason}", remedy="give a TOML file") from error
