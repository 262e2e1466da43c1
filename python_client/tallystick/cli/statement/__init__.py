"""`tallystick statement`: a month of an organization, on the terminal and as a page."""
