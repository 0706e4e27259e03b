"""Source features with the mean and covariance of the target's texts (CORAL)."""

from __future__ import annotations

from headstart.instances.unlabelled import rung

STRATEGY = rung("aligned", "a probe on source features that are turned into the target's mean and covariance")
