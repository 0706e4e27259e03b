"""All labelled rows of neighbouring data as they are: what fitting to the target's texts is compared with."""

from __future__ import annotations

from headstart.instances.unlabelled import rung

STRATEGY = rung("source_rows", "a probe on all source rows as they are")
