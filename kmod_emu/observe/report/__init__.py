"""One run of a module as a page: what is collected, and how it is drawn."""
