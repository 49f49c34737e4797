"""Files of tasks, submissions and journals."""
