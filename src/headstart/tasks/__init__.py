"""One kind of task per file: labels, metrics."""
