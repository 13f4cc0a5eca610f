"""Proof that the tests of the gradient rules can fail: every rule is broken in every small way, and must be caught.

python -m tests.mutation            # all rules
python -m tests.mutation conv2d     # some
"""
