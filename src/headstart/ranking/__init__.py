"""Which source to start from, told without training any: `headstart rank`."""
