"""What `tallystick doctor` looks at: is this database fit to keep the books, and what would help?

`checks` reads what the server knows; `slots` watches for callers that wait for each other. Each
check yields `Diagnosis` values and changes nothing.
"""
