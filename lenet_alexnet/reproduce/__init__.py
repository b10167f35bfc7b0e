"""Every number of both papers: how it is tested, what was measured, and the verdict.

`claims.py` defines a claim; `catalogue.py` lists all claims.
"""
