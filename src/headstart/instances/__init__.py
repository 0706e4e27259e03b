"""Instance transfer: which rows of neighbouring data help a target, and how much each should count."""
