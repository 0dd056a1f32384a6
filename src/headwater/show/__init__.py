"""What the command line shows, as facts (plain values, also its --json) and as text: studies,
labels, a run as it goes.
"""
