"""Which phase a signal should show: the task of the controller."""
