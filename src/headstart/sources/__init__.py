"""What can be transferred: from a name to the files of a backbone."""
