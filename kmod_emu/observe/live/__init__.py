"""The page of a run, served: the machine as it was at each step."""
