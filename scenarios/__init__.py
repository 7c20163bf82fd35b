"""What happens: scenarios, their demand and their incidents, as pure data without a simulator."""
