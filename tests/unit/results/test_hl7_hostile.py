"""Whatever a header, a rule or a site says: a message has its segments and its fields, and no end before its end."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from support import story

from triage_agent.domain.hl7_form import Hl7Form
from triage_agent.domain.quiet import quiet
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.results.context import ResultContext
from triage_agent.results.hl7_fields import NAMES
from triage_agent.results.hl7_versions import CODECS
from triage_agent.results.registry import REGISTRY

ORDERS = (ArtifactKind.HL7_ORU, ArtifactKind.HL7_OMI, ArtifactKind.HL7_ORM)
TEXT = st.text(st.sampled_from("|^~\\&\r\n\x0b\x1c\x00\x85\u2028aÖ山김{}"), max_size=30) | st.text(max_size=30)
KEYWORDS = ("PatientID", "PatientName", "IssuerOfPatientID", "AccessionNumber", "Modality", "RequestedProcedureID")
EVERYTHING = (("OBR-4", "^".join(f"{{{name}}}" for name in NAMES)), ("PV1-3.2", "{study_description}"))


def shape(body):
    """Each segment's name and its number of fields."""
    return [(line.split(b"|")[0], line.count(b"|")) for line in body.split(b"\r")]


def built(kind, said, rule, charset):
    header = Dataset()
    with quiet():
        for keyword, text in said.items():
            setattr(header, keyword, text)
    decision = story.decision("1.2.3", rule=rule, reasons=("why",), acr_category="2")
    form = Hl7Form(charset=charset, fields=EVERYTHING)
    return REGISTRY[kind].build(ResultContext(result=decision, headers=(header,), institution=rule, form=form)).body


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(ORDERS), st.fixed_dictionaries(dict.fromkeys(KEYWORDS, TEXT)), TEXT, st.sampled_from(list(CODECS))
)
def test_hostile_values_change_no_message_s_shape(kind, said, rule, charset):
    body = built(kind, said, rule, charset)
    assert shape(body) == shape(built(kind, dict.fromkeys(KEYWORDS, "x"), "x", charset))
    assert not {0x0B, 0x1C} & set(body)
    body.decode(CODECS[charset])


def test_a_value_longer_than_anybody_s_is_left_out_and_not_cut(header, context):
    long = header()
    with quiet():
        long.PatientID, long.AccessionNumber = "QX" * 50_000, "WX" * 126
        long.RequestedProcedureDescription = "YX" * 50_000
    for kind in ORDERS:
        body = REGISTRY[kind].build(context(headers=[long])).body
        assert len(body) < 5000
        assert not [text for text in (b"QXQX", b"WXWX", b"YXYX") if text in body]
