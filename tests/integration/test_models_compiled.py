"""`model.compile`: the compiler's own tracing takes seconds to load, so that this is no unit test."""

from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from triage_agent.models import runner
from triage_agent.models.bundle import BundleSpec, EncoderSpec, HeadSpec, write_bundle
from triage_agent.models.compact import CompactEncoder
from triage_agent.models.head import build_head
from triage_agent.models.registry import tuned_spec


def test_a_compiled_encoder_scores_as_it_does_uncompiled(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    encoder = CompactEncoder({"image_size": 32, "widths": [4, 8], "depths": [1, 1]})
    head = HeadSpec(kind="linear", input_dim=encoder.embedding_dim)
    spec = BundleSpec(
        name="tiny",
        version="1",
        created=datetime(2026, 1, 2, tzinfo=UTC),
        encoder=tuned_spec(encoder, EncoderSpec(kind="compact", source="bundle", image_size=32)),
        head=head,
    )
    folder = write_bundle(tmp_path / "bundle", spec, build_head(head).state_dict(), encoder.state_dict(), "")
    compile_really, asked = torch.compile, []

    def compile_quickly(module):
        asked.append(type(module).__name__)
        return compile_really(module, backend="eager")  # traced as ever, without minutes of code generation

    monkeypatch.setattr(torch, "compile", compile_quickly)
    plain = runner.start("local", str(folder), runner.Placement(device="cpu"))
    compiled = runner.start("local", str(folder), runner.Placement(device="cpu", compiled=True))
    pictures = list(np.random.default_rng(0).random((2, 40, 30), dtype=np.float32))

    assert compiled.score(pictures) == pytest.approx(plain.score(pictures), abs=1e-6)
    assert asked == ["CompactEncoder"]
