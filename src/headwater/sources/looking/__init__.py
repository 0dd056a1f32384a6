"""Looking at images before anything is drawn from them: which files cannot be read, and why (what
is said of one file is in headwater.sources.pixels.judging).

judges.py     many files: by processes, so that a decoder that crashes takes nothing with it
verdicts.py   what was found, remembered by each file's identity
look.py       a source: what is known, what must be opened, what is bad
"""

from headwater.sources.looking.look import A_FEW, EVERYTHING, Looked, Looking, look, named

__all__ = ["A_FEW", "EVERYTHING", "Looked", "Looking", "look", "named"]
