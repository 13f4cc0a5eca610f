"""no_grad and enable_grad: where they hold, and that they are always put back (H144)."""

import asyncio
import threading

import numpy as np
import pytest

from tinygrad_cnn import Tensor, enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled


def records():
    x = Tensor([1.0], requires_grad=True)
    recorded = (x * 2.0).requires_grad
    assert recorded == is_grad_enabled()
    return recorded


def test_H144_inside_no_grad_nothing_is_recorded():
    x = Tensor([1.0, 2.0], requires_grad=True)
    assert records()
    with no_grad():
        y = x * 3.0
        assert not records()
    assert records()
    assert (y.requires_grad, y.is_leaf) == (False, True)
    z = (x * y).sum()
    z.backward()
    np.testing.assert_array_equal(x.grad.array, y.array)


def test_H144_modes_nest_and_one_object_may_be_entered_again():
    mode = no_grad()
    with mode:
        assert not records()
        with enable_grad():
            assert records()
            with mode:
                assert not records()
            assert records()
        assert not records()
        with mode:
            assert not records()
        assert not records()
    assert records()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_H144_an_exception_restores_the_mode(error):
    def fail():
        assert not records()
        raise error

    for run in (no_grad()(fail), no_grad(fail)):
        with pytest.raises(error):
            run()
        assert records()
    with pytest.raises(error), no_grad(), enable_grad(), no_grad():
        raise error
    assert records()


@pytest.mark.parametrize("decorator", [no_grad, no_grad()], ids=["without parentheses", "with parentheses"])
def test_H144_a_decorated_function_keeps_its_name_arguments_and_result(decorator):
    @decorator
    def f(a, b=2):
        """Says whether it records."""
        return a, b, records()

    assert f(1) == (1, 2, False)
    assert f(1, b=3) == (1, 3, False)
    assert (f.__name__, f.__doc__) == ("f", "Says whether it records.")
    assert records()


def test_H144_a_decorated_function_may_call_itself():
    @no_grad
    def f(depth):
        with enable_grad():
            assert records()
        return [records()] if depth == 0 else [*f(depth - 1), records()]

    assert f(4) == [False] * 5
    assert records()


def test_H144_a_decorated_generator_holds_only_while_it_runs():
    @no_grad()
    def g():
        try:
            got = yield records()
            assert got == "sent"
            try:
                yield records()
            except KeyError:
                yield ("caught", records())
        finally:
            ends.append(records())
        return "result"

    ends = []
    run = g()
    assert next(run) is False
    assert records()
    assert run.send("sent") is False
    assert records()
    assert run.throw(KeyError()) == ("caught", False)
    assert records()
    with pytest.raises(StopIteration) as stop:
        next(run)
    assert stop.value.value == "result"
    assert (ends, records()) == ([False], True)

    early = g()
    next(early)
    early.close()
    assert (ends, records()) == ([False, False], True)


def test_H144_an_exception_out_of_a_decorated_generator_passes_through():
    @no_grad
    def g():
        yield 1
        raise ValueError("from inside")

    with pytest.raises(ValueError, match="from inside"):
        list(g())
    assert records()
    with no_grad():

        @enable_grad
        def h():
            yield records()

        assert list(h()) == [True]
        assert not records()


def test_H144_a_coroutine_holds_in_its_own_task_only():
    turns = []

    @no_grad()
    async def frozen():
        for _ in range(3):
            turns.append(("frozen", records()))
            await asyncio.sleep(0)

    async def free():
        for _ in range(3):
            turns.append(("free", records()))
            await asyncio.sleep(0)

    async def both():
        await asyncio.gather(frozen(), free(), frozen())
        assert records()
        await frozen()
        assert records()
        with no_grad():
            await asyncio.create_task(free_inherits())

    async def free_inherits():
        assert not records()

    asyncio.run(both())
    assert set(turns) == {("frozen", False), ("free", True)}
    assert turns[:3] == [("frozen", False), ("free", True), ("frozen", False)]


def test_H144_an_async_generator_holds_only_while_it_runs():
    ends = []

    @no_grad
    async def g():
        try:
            got = yield records()
            await asyncio.sleep(0)
            yield got, records()
        except KeyError:
            yield "caught", records()
        finally:
            ends.append(records())

    async def use():
        async for value in g():
            assert value in (False, (None, False))
            assert records()
        run = g()
        assert await run.asend(None) is False
        assert await run.asend("sent") == ("sent", False)
        assert records()
        assert await run.athrow(KeyError()) == ("caught", False)
        assert records()
        await run.aclose()
        assert records()

    asyncio.run(use())
    assert ends == [False, False]


def test_H144_another_thread_keeps_its_own_mode():
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append(records()))
        thread.start()
        thread.join()
        assert not records()
    assert seen == [True]

    inside, leave = threading.Event(), threading.Event()

    def hold():
        with no_grad():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    assert records()
    leave.set()
    thread.join()


def test_H144_detach_and_parts_without_gradient():
    x = Tensor([2.0], requires_grad=True)
    y = x * x.detach() + x.detach() * 5.0
    y.backward()
    assert x.grad.tolist() == [2.0]


def test_set_grad_enabled_holds_at_once_and_as_a_block_until_its_end():
    try:
        set_grad_enabled(False)
        assert not records()
        with set_grad_enabled(True):
            assert records()
            with set_grad_enabled(False):
                assert not records()
            assert records()
        assert not records()
    finally:
        set_grad_enabled(True)
    assert records()


def test_a_set_grad_enabled_made_earlier_may_be_entered_later():
    mode = set_grad_enabled(False)
    set_grad_enabled(True)
    with mode:
        assert not records()
    assert records()


def test_set_grad_enabled_decorates_a_function_and_leaves_the_mode_alone():
    quiet = set_grad_enabled(False)(records)
    assert records()
    assert not quiet()
    with no_grad():
        loud = set_grad_enabled(True)(records)
        assert not records()
        assert loud()
    assert records()


def test_an_exception_in_a_set_grad_enabled_block_restores_the_mode():
    with pytest.raises(KeyError), set_grad_enabled(False):
        raise KeyError
    assert records()


@pytest.mark.parametrize("mode", [no_grad, enable_grad])
def test_a_mode_decorates_functions_alone(mode):
    with pytest.raises(TypeError, match=f"{mode.__name__}: a bool was given; a function to decorate, or nothing, is"):
        mode(True)
    assert mode(records)() == (mode is enable_grad)


def test_inference_mode_is_no_grad_and_its_results_may_be_used_in_a_graph():
    x = Tensor([2.0], requires_grad=True)
    with inference_mode():
        y = x * 3.0
        assert not records()
        with inference_mode(False):
            assert records()
        assert not records()
    assert not y.requires_grad
    (x * y).sum().backward()
    np.testing.assert_array_equal(x.grad.array, [6.0])


@pytest.mark.parametrize("decorator", [inference_mode, inference_mode(), inference_mode(True)])
def test_inference_mode_decorates_with_and_without_its_argument(decorator):
    assert not decorator(records)()
    assert inference_mode(False)(records)()
    assert records()


@pytest.mark.parametrize("mode", [set_grad_enabled, inference_mode])
def test_modes_take_a_bool(mode):
    with pytest.raises(TypeError, match=f"{mode.__name__}: mode is 1; True or False is needed"):
        mode(1)
    assert records()
