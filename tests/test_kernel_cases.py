"""Kernels against plain loops, as where numba is installed (loops as plain Python, memory spoilt) and as where not."""

import kernel_cases
import pytest
from mutation.equivalent_kernels import EQUIVALENT, reason
from mutation.kernels import JUDGED, kernel, kernel_mutants, missing
from mutation.kill_kernels import BESIDE, ways
from mutation.plain import VECTOR_CODE, plain, start

from tinygrad_cnn.kernels import compiled

WAYS = [(name, *way) for name in JUDGED for way in ways(name)]


def hold(name):
    """Every case of a kernel module, which an error names."""
    for title, check in kernel_cases.cases(name):
        start()
        try:
            check()
        except BaseException as error:
            error.add_note(f"in the case: {title}")
            raise


@pytest.mark.parametrize(("name", "loops", "vectors"), WAYS)
@pytest.mark.filterwarnings("ignore")  # nan and overflow are among the values
def test_every_case_of_the_table_holds(name, loops, vectors):
    if why := missing(name):
        pytest.skip(why)
    with plain([kernel(other) for other in BESIDE], loops=loops, vectors=vectors):
        hold(name)


@pytest.mark.skipif(compiled.vectors() is None, reason="there is no vector code: no numba, or not for this processor")
@pytest.mark.parametrize("name", [name for name in VECTOR_CODE if name != "instructions"])  # which are in the others
def test_every_case_of_vector_code_holds_compiled(name):
    hold(name)


def test_reasons_are_for_mutants_that_there_are():
    assert not reason("pool.gather: x -> y")
    labels = [mutant.label for name in JUDGED if not missing(name) for mutant in kernel_mutants(name)]
    assert len(set(labels)) == len(labels) > 5000
    assert {pattern.split(r"\.")[0] for pattern in EQUIVALENT} <= {*JUDGED, r"\w+"}
