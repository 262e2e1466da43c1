"""Replaying recorded LLM usage through the caps: parse, plan, price, run, prove, report.

`formats` reads a usage file into rows, `plan` names every request so that a second replay
recognises it, `quotes` says what each costs at today's price, `ways` are the two ways to spend them
(hold, then settle; check, then record), `run` sends them, `books` reads the proof back from the
database and `report` shows it. `session` is all of it in order.
"""
