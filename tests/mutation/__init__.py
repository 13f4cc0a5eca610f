"""Proof that the tests of rules and kernels can fail: each is broken in every small way, and must be caught.

python -m tests.mutation                        # all gradient rules
python -m tests.mutation conv2d                 # some
python -m tests.mutation --kernels [pool ...]   # kernels
python -m tests.mutation --changed [REF]        # rules and kernels of the files that differ from REF
"""
