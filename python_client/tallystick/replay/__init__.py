"""Replaying recorded LLM usage through the caps: parse, price, plan, run, prove, report.

`formats` reads a usage file into rows, `pricing` says what each cost, `plan` names every request
so that a second replay recognises it, `run` sends them through check and record, `books` reads
the proof back from the database and `report` shows it. All but `run` and `books` are pure.
"""
