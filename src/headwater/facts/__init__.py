"""What Headwater knows of studies, labels and tasks, as plain values: what commands print and what
their --json gives.

headwater.api offers them in Python, headwater.show prints them.
"""
