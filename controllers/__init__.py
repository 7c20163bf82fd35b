"""Who decides: every signal controller, all behind the same two methods."""
