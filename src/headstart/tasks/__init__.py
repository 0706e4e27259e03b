"""What is predicted of a text: one file for each kind of task."""
