"""A world with words: the names of places, and bulletins that tell of what happens and of what will."""
