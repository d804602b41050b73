"""Bundles of the real compact encoder, a few hundred weights small."""

from datetime import UTC, datetime

import torch

from triage_agent.models.bundle import BundleSpec, CalibrationSpec, EncoderSpec, HeadSpec, Thresholds, write_bundle
from triage_agent.models.compact import CompactEncoder
from triage_agent.models.head import build_head
from triage_agent.models.registry import tuned_spec

_CONFIG = {"image_size": 32, "widths": [4, 8], "depths": [1, 1]}
_HARDLY = 1e-6  # a slope at which what the network says does not matter


def write_tiny_bundle(
    folder, *, slope=2.0, bias=0.0, abnormal=0.5, alert=0.9, anatomies=("XR_KNEE", "XR_WRIST"), training_data=None
):
    """A bundle with random weights; returns its folder."""
    torch.manual_seed(1)
    encoder = CompactEncoder(_CONFIG)
    spec = BundleSpec(
        name="tiny",
        version="1.0.0",
        created=datetime(2026, 1, 2, tzinfo=UTC),
        encoder=tuned_spec(encoder, EncoderSpec(kind="compact", source="bundle", image_size=_CONFIG["image_size"])),
        head=HeadSpec(kind="mlp", input_dim=encoder.embedding_dim, hidden=(4,)),
        calibration=CalibrationSpec(a=slope, b=bias),
        thresholds=Thresholds(abnormal=abnormal, alert=alert),
        anatomies=anatomies,
        training_data=training_data or {},
        notice="not for clinical use",
    )
    torch.manual_seed(2)
    head = build_head(spec.head).state_dict()
    return write_bundle(folder, spec, head, encoder.state_dict(), "# Tiny\n")


def write_constant_bundle(folder, *, bias, **changes):
    """A bundle that gives every image the same probability, sigmoid(bias), to five decimals."""
    return write_tiny_bundle(folder, slope=_HARDLY, bias=bias, **changes)
