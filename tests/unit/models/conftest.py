"""A bundle of the real compact encoder, a few hundred weights small."""

from datetime import UTC, datetime

import pytest
import torch

from triage_agent.models.bundle import BundleSpec, CalibrationSpec, EncoderSpec, HeadSpec, Thresholds, write_bundle
from triage_agent.models.compact import CompactEncoder
from triage_agent.models.head import build_head
from triage_agent.models.registry import tuned_spec

TINY = {"image_size": 32, "stem": 4, "widths": [4, 8], "depths": [1, 1]}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def encoder():
    torch.manual_seed(1)
    return CompactEncoder(TINY)


@pytest.fixture
def spec(encoder):
    base = EncoderSpec(kind="compact", source="bundle", image_size=32)
    return BundleSpec(
        name="tiny",
        version="1.0.0",
        created=datetime(2026, 1, 2, tzinfo=UTC),
        encoder=tuned_spec(encoder, base),
        head=HeadSpec(kind="mlp", input_dim=encoder.embedding_dim, hidden=(4,)),
        calibration=CalibrationSpec(a=2.0, b=-0.5),
        thresholds=Thresholds(abnormal=0.4, alert=0.8),
        anatomies=("XR_KNEE",),
        notice="not for clinical use",
    )


@pytest.fixture
def head_state(spec):
    torch.manual_seed(2)
    return build_head(spec.head).state_dict()


@pytest.fixture
def bundle_folder(tmp_path, spec, head_state, encoder):
    return write_bundle(tmp_path / "bundle", spec, head_state, encoder.state_dict(), "# Tiny\n")
