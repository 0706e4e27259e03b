"""Source rows weighed by how likely they are among the target's texts."""

from __future__ import annotations

from headstart.instances.unlabelled import rung

STRATEGY = rung("weighted_rows", "a probe on source rows weighed by likeness to the target's texts")
