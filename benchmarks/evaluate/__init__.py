"""How well a task's answerers answer."""
