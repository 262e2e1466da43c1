"""The command `tallystick top`: what is being spent, on one screen that keeps itself up to date.

`board` reads one moment of the database; `pace` turns moments into rates; `screen` and `overview`
show one organization and all of them.
"""
