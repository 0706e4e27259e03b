"""Source rows, and the target's texts with the labels on which two heads agree."""

from __future__ import annotations

from headstart.instances.unlabelled import rung

STRATEGY = rung("self_labels", "a probe on source rows and on target texts on whose label two heads agree")
