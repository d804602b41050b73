"""Who observed, as SR content says it."""

from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom.sr.codedict import codes

from triage_agent.results.context import MANUFACTURER, PRODUCT, ResultContext


def observer_of(context: ResultContext) -> ObserverContext:
    """TID 1002 and TID 1004: the device that observed is this software with this bundle."""
    return ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=context.device_uid,
            name=PRODUCT,
            manufacturer_name=MANUFACTURER,
            model_name=context.model.label,
            serial_number=context.model.digest,
        ),
    )
