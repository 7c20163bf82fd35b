"""Policies trained by reinforcement learning."""
