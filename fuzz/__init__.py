"""Fuzzing what reads bytes that strangers wrote: one small target a mechanism, in `targets/`.

A target is a module with `EXPECTED`, the exceptions that its mechanism documents; `seeds()`, inputs to begin
with; and `start()`, which makes what an input needs and returns the function that takes one. Anything else
that it raises is a bug: its input becomes a file in `regressions/TARGET/`, which the test suite runs.
"""
