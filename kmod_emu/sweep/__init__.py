"""Many modules, each on a machine of its own: what came of every one, and how it agrees with a recording."""
