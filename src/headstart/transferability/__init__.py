"""How well will a source transfer to a target? One estimator per file; registry.py finds them by name. All look at training rows only."""
