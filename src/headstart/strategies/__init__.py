"""One way of transferring per file."""
