"""What a network is, in words: what validate and explain tell of it."""
