"""Lessons and their marks: the pytest plugin, and grading many submissions."""
