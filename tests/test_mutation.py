"""No rule or kernel may stay while a broken version of it passes its tests: see tests/mutation."""

import re
from contextvars import copy_context

import numpy as np
import pytest
from mutation import changed
from mutation.changed import judged, unjudged
from mutation.equivalent import reason, stale
from mutation.equivalent_kernels import reason as kernel_reason
from mutation.kernels import JUDGED, kernel_mutants, missing, sample
from mutation.kill import all_mutants, judge, survives
from mutation.kill_kernels import passes, survives_kernel
from mutation.mutants import modules, rules
from mutation.plain import as_numba

from tinygrad_cnn.declaration import registry
from tinygrad_cnn.kernels import conv
from tinygrad_cnn.ops.elementwise import tanh

pytestmark = pytest.mark.filterwarnings("ignore")  # broken rules may warn as they like


PARTS = 4  # of the work, for processes that share it


@pytest.mark.parametrize("part", range(PARTS))
def test_no_broken_rule_passes(part):
    unexcused = [mutant for mutant in all_mutants()[part::PARTS] if not reason(mutant.label)]
    assert [mutant.label for mutant in unexcused if survives(mutant)] == []


def test_no_excuse_is_stale():
    excused = [mutant for mutant in all_mutants() if reason(mutant.label)]
    assert stale([mutant.label for mutant in excused if survives(mutant)]) == []


def test_the_mutants_cover_every_rule_of_every_op():
    written = {(rule.op.name, rule.name) for module in modules() for rule in rules(module)}
    for declared in registry.values():
        if not declared.forward.__module__.startswith("tinygrad_cnn."):
            continue
        names = [None] if declared.joint else [name for name, rule in declared.rules.items() if rule is not None]
        assert {(declared.name, name) for name in names} <= written


def test_labels_are_unique_and_the_right_rules_come_back():
    mutants = all_mutants(["tanh", "concatenate"])
    labels = [mutant.label for mutant in mutants]
    assert len(set(labels)) == len(labels) > 100
    before = tanh.op.rules, registry["concatenate"].joint
    assert not any(survives(mutant) for mutant in mutants[:5])
    assert (tanh.op.rules, registry["concatenate"].joint) == before
    assert all(judge(tanh.op).verdicts())


def test_every_kind_of_break_is_made():
    labels = "\n".join(mutant.label for mutant in all_mutants())
    for kind in [
        r"g \* y -> g / y",  # another operator
        r"g \* y -> y\n",  # a dropped operand
        r"-g \* out -> g \* out|-g -> g",  # a dropped minus
        r"2\.0 -> 3\.0",
        r"asks for x as y",
        r"getitem -> add_at",
        r"True -> False|False -> True",
        r"x > y -> x >= y",
        r"without ",
        r"sum -> mean",
    ]:
        assert re.search(kind, labels), kind


@pytest.mark.asserts
@pytest.mark.parametrize("name", JUDGED)
def test_no_broken_kernel_of_a_sample_passes(name):
    if why := missing(name):
        pytest.skip(why)
    assert passes(name)
    unexcused = [mutant for mutant in kernel_mutants(name) if not kernel_reason(mutant.label)]
    some = sample(name, unexcused, 300)
    assert some
    assert [mutant.label for mutant in some if survives_kernel(mutant)] == []


def test_a_broken_kernel_is_taken_out_again_and_an_endless_loop_ends():
    assert passes("reduce")
    endless = [
        mutant for mutant in kernel_mutants("reduce") if mutant.label == "reduce.sum_pairwise: without end = start"
    ]
    assert len(endless) == 1
    assert not survives_kernel(endless[0])
    assert passes("reduce")


def test_a_broken_context_manager_still_opens():
    label = "conv.conv_algorithm: without _chosen.reset(token)"
    (mutant,) = (one for one in kernel_mutants("conv") if one.label == label)

    def left_behind():
        with conv.conv_algorithm("loops"):
            assert conv._chosen.get() == "loops"
        return conv._chosen.get()

    with mutant.applied():
        assert copy_context().run(left_behind) == "loops"
    assert copy_context().run(left_behind) == "auto"


def test_what_a_broken_kernel_leaves_in_a_context_variable_does_not_kill_the_next():
    (mutant,) = (m for m in kernel_mutants("conv") if m.label == "conv.conv_algorithm: without _chosen.reset(token)")
    assert not survives_kernel(mutant)
    assert conv._chosen.get() == "auto"
    assert passes("conv")


def test_plain_loops_refuse_what_compiled_ones_would():
    loop = as_numba(lambda *values: len(values))
    assert loop(np.ones(2, np.float32), 2**63 - 1, 0.5) == 3
    for refused, error in (
        (2**63, OverflowError),
        (np.ones(2, np.float16), TypeError),
        (np.ones(2, object), TypeError),
    ):
        with pytest.raises(error, match=r"is no 64-bit integer|numba takes no objects, and no float16"):
            loop(refused)


def test_what_has_changed_is_judged():
    paths = ["tinygrad_cnn/ops/conv.py", "tinygrad_cnn/kernels/pool.py", "tinygrad_cnn/kernels/vectors.py", "README.md"]
    assert judged(paths) == (["tinygrad_cnn.ops.conv"], ["pool", "vectors"])
    assert unjudged([*paths, "tinygrad_cnn/kernels/spin.py"]) == ["spin"]
    assert judged(["tests/kernel_cases/pool.py"]) == ([], list(JUDGED))


@pytest.mark.parametrize(
    ("commits", "wanted"),
    [
        ({"HEAD": "b", "origin/main": "a", "HEAD~1": "a"}, "origin/main"),
        ({"HEAD": "b", "origin/main": "b", "HEAD~1": "a"}, "HEAD~1"),
        ({"HEAD": "b", "HEAD~1": "a"}, "HEAD~1"),
        ({"HEAD": "b", "origin/main": "b"}, None),  # of a shallow clone
        ({}, None),
    ],
)
def test_a_change_is_what_differs_from_the_branch_on_the_server_or_the_commit_before(commits, wanted, monkeypatch):
    monkeypatch.setattr(changed, "_commit", commits.get)
    assert changed.default_reference() == wanted


def test_every_kind_of_break_is_made_in_kernels():
    labels = "\n".join(mutant.label for name in ("conv_loops", "reduce") for mutant in kernel_mutants(name))
    for kind in [
        r"i \* sh \+ p \* dh -> i \* sh - p \* dh",
        r"i \* sh -> i ",
        r"sh -> sw",
        r"top -> left",
        r"height -> width",
        r"0 <= row < height -> 0 <= row <= height",
        r"total \+= .* -> total = ",
        r"without total \+= ",
        r"1 -> 2",
        r"return (.*) -> return -\1",
    ]:
        assert re.search(kind, labels), kind
