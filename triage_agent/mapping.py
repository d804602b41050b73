"""Evidence at work: maps of what raised a study, made when its decision has been committed, in a thread of its own.

Neither a flag nor a decision waits for a map (promise 7), and whatever fails costs the map alone.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from pathlib import Path

from triage_agent.afterwards import Afterwards, Decided
from triage_agent.domain.decision import Decision, Route, Shipment
from triage_agent.domain.errors import TriageError
from triage_agent.domain.evidence import EvidenceMap, ImageExplainer
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.study import Assessment, ClaimedStudy, with_originals
from triage_agent.domain.vocabulary import ArtifactKind, Event
from triage_agent.imaging.load import Displayable
from triage_agent.imaging.loader import Loader, SpoolLoader
from triage_agent.models.overlay import overlay
from triage_agent.results.building import build_each
from triage_agent.results.context import EVIDENCE, ResultContext
from triage_agent.results.evidence import Source
from triage_agent.results.key_objects import key_images
from triage_agent.results.merged import as_merged
from triage_agent.results.registry import REGISTRY

QUEUED, NONE = "queued", "none"  # what became of a study's maps
_LONGEST_QUEUE = 200  # studies: what is behind them has no map, instead of filling the memory
_MOST_IMAGES = 4  # of a study: the most abnormal ones
_SECONDS = 60.0  # for a study; images that are not begun by then have no map


class Mapper:
    """Makes maps of decided studies, one after the other, and queues what the routes ask for of them."""

    def __init__(
        self,
        *,
        worklist: Worklist,
        spool: Path,
        loader: Loader,
        explainer: ImageExplainer,
        routes: Sequence[Route],
        institution: str,
        clock: Clock,
        mapped: Callable[[str], None],
        timezone: tzinfo = UTC,
        secondary_captures: bool = False,
    ) -> None:
        """`mapped` is told of each study that was to have maps: QUEUED or NONE."""
        self._worklist = worklist
        self._spool = spool
        self._loader = SpoolLoader(loader, spool)
        self._explainer = explainer
        self._wanted = [(kind, route) for route in routes for kind in route.send if kind.is_evidence]
        self._institution = institution
        self._timezone = timezone
        self._clock = clock
        self._mapped = mapped
        self._secondary_captures = secondary_captures
        self._waiting = Afterwards("evidence", _LONGEST_QUEUE, lambda: mapped(NONE))

    def offer(self, claimed: ClaimedStudy, decision: Decision, assessments: Sequence[Assessment]) -> None:
        """Let a study have its maps later, where it shows something; returns at once."""
        above = decision.probability is not None and decision.probability >= decision.model.threshold
        explained = decision.model.digest == self._explainer.digest
        if decision.event is Event.DECIDED and above and explained and self._wanted_of(decision):
            self._waiting.put(claimed, decision, assessments)

    def stop(self) -> None:
        """Begin no other image."""
        self._waiting.stop()

    def step(self) -> bool:
        """Make the maps of the study that has waited longest; see `Afterwards.step`."""
        return self._waiting.step(self._map_one)

    def _map_one(self, one: Decided) -> None:
        self._mapped(QUEUED if self._map(one.study, one.decision, one.assessments) else NONE)

    def _map(self, claimed: ClaimedStudy, decision: Decision, assessments: Sequence[Assessment]) -> bool:
        """Whether anything was queued."""
        claimed, assessments = with_originals(claimed, assessments)
        headers = [self._loader.header(self._spool / one.path) for one in claimed.instances]
        merged = self._worklist.merged_of(decision.study_instance_uid)  # asked now: it may have been merged meanwhile
        context = ResultContext(
            result=decision,
            headers=tuple(header for header in as_merged(headers, merged) if header is not None),
            assessments=tuple(assessments),
            stored=claimed.instances,
            institution=self._institution,
            timezone=self._timezone,
        )
        context = replace(context, maps=self._maps(claimed, _most_abnormal(key_images(context))))
        shipments = self._shipments(context, self._wanted_of(decision))
        if not shipments or self._waiting.stopping.is_set():
            return False
        return self._worklist.add_results(decision.study_instance_uid, decision.revision, shipments, self._clock())

    def _maps(self, claimed: ClaimedStudy, chosen: Sequence[Source]) -> dict[str, EvidenceMap]:
        """As many as there is time for; an image of which there is none costs no other its own."""
        paths = {one.sop_instance_uid: self._spool / one.path for one in claimed.instances}
        maps: dict[str, EvidenceMap] = {}
        until = time.monotonic() + _SECONDS
        for source in chosen:
            if self._waiting.stopping.is_set() or time.monotonic() > until:
                break
            found = self._map_of(source.sop_instance_uid, paths[source.sop_instance_uid])
            if found is not None:
                maps[source.sop_instance_uid] = found
        return maps

    def _map_of(self, uid: str, path: Path) -> EvidenceMap | None:
        loaded = self._loader.load(path, secondary_captures=self._secondary_captures)
        if not isinstance(loaded, Displayable):
            raise TriageError(f"not to be scored any more: {loaded.reason}")
        heat = self._explainer.explain(loaded.image)
        if not heat.max() > 0:
            return None  # no place raises the score
        return EvidenceMap(
            sop_instance_uid=uid,
            frame=loaded.facts.frame + 1 if loaded.facts.frames > 1 else None,
            heat=heat,
            picture=overlay(loaded.image, heat),
            method=self._explainer.method,
        )

    def _wanted_of(self, decision: Decision) -> list[tuple[ArtifactKind, Route]]:
        """What goes where: only to the destinations that the rule which fired names, where it names any."""
        return [(kind, route) for kind, route in self._wanted if not decision.routes or route.to in decision.routes]

    def _shipments(self, context: ResultContext, wanted: Sequence[tuple[ArtifactKind, Route]]) -> list[Shipment]:
        kinds: set[ArtifactKind] = {
            kind
            for kind, _ in wanted
            if EVIDENCE in REGISTRY[kind].occasions and REGISTRY[kind].has_something_to_say(context)
        }
        built, _ = build_each({(kind, context.form): context for kind in kinds})  # it logs what fails
        return [
            Shipment(artifact=built[kind, context.form], destination=route.to)
            for kind, route in wanted
            if (kind, context.form) in built
        ]


def _most_abnormal(images: Sequence[Source]) -> list[Source]:
    def probability(source: Source) -> float:
        return (source.assessment.probability if source.assessment else None) or 0.0

    return sorted(images, key=probability, reverse=True)[:_MOST_IMAGES]
