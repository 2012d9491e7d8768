"""Speed and memory, as ratios between two things measured in turn in the same run: `make bench`.

Nothing here is asserted anywhere: machines differ, ratios less so, and the table shows them beside
their aims.
"""
