"""What the language model learns, a folder for each task."""
