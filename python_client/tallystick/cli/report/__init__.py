"""The command `tallystick report`: what was spent in a period, as a table and as a plot."""
