"""What a network is, in words: what validate tells of it."""
