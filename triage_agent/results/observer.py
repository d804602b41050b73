"""Who observed, as SR content says it."""

from functools import lru_cache

from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom.sr.codedict import codes

from triage_agent.results.context import MANUFACTURER, PRODUCT, ResultContext


def observer_of(context: ResultContext) -> ObserverContext:
    """TID 1002 and TID 1004: the device that observed is this software with this bundle."""
    return _device(context.device_uid, context.model.label, context.model.digest)


@lru_cache(maxsize=8)
def _device(uid: str, label: str, digest: str) -> ObserverContext:
    """The same in every object that a bundle makes."""
    return ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=uid,
            name=PRODUCT,
            manufacturer_name=MANUFACTURER,
            model_name=label,
            serial_number=digest,
        ),
    )
