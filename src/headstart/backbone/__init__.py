"""Running a backbone: batching, the cut, pooling, the store."""
