"""The command line tool `tallystick`; it needs the extra `cli`."""
