"""Maps of where a score comes from, as whoever explains would make them."""

import numpy as np

from triage_agent.domain.evidence import EvidenceMap

METHOD = "gradient"


def spot(rows, columns, row, column, radius):
    """A map that falls off around a place: float32 [rows, columns], 1 there, half of it at `radius`."""
    down, across = np.mgrid[0:rows, 0:columns] + 0.5
    distance = np.hypot(down - row, across - column)
    return np.clip(1 - distance / (2 * radius), 0, 1).astype(np.float32)


def map_of(uid, heat, frame=None):
    """The map of an image, over black."""
    picture = np.repeat((heat * 255).astype(np.uint8)[..., None], 3, axis=2)
    return EvidenceMap(sop_instance_uid=uid, frame=frame, heat=heat, picture=picture, method=METHOD)


class BrightPlaces:
    """An explainer whose map is the image itself, where it is brighter than anything but what a test put there."""

    method = METHOD

    def __init__(self, digest, above=0.98):
        self.digest, self.above = digest, above

    def explain(self, image):
        return (image > self.above).astype(np.float32)


def drawn_in(state):
    """The outlines of a presentation state by image: {SOP Instance UID: [float [N, 2] of column, row]}."""
    found = {}
    for annotation in state.GraphicAnnotationSequence:
        (image,) = annotation.ReferencedImageSequence
        lines = annotation.get("GraphicObjectSequence", [])
        assert all(line.NumberOfGraphicPoints * 2 == len(line.GraphicData) for line in lines)
        found[image.ReferencedSOPInstanceUID] = [np.reshape(line.GraphicData, (-1, 2)) for line in lines]
    return found
