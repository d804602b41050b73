"""The Ray Serve application for tests that run no cluster; where warnings are errors Ray Serve's own are none."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

    from triage_agent.models.cluster import membership
    from triage_agent.models.cluster.application import Scoring, application

__all__ = ["AutoscalingConfig", "AutoscalingPolicy", "Scoring", "application", "membership"]
