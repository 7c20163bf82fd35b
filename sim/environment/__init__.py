"""What the environments are made of: options, actions, rewards, observations, pictures."""
