"""Parts of datasets, samplers, and loaders whose threads work ahead."""

import gc
import re
import threading
import weakref
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)
from tinygrad_cnn.data.prefetch import NAME
from tinygrad_cnn.random import drawing_from


class Draws(Dataset):
    """Item i is i and three random numbers; a subclass, as torch's users write it."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index):
        return index, tg.rand(3)


class Faulty(Draws):
    def __getitem__(self, index):
        if index == 5:
            raise LookupError("no file 5.png")
        return index


def workers_alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def numbers(loader: DataLoader) -> list[list[object]]:
    return [[part.numpy().tolist() for part in batch] for batch in loader]


# Parts


@given(n=st.integers(1, 30), data=st.data())
def test_a_subset_has_the_items_at_its_indices(n, data):
    indices = data.draw(st.lists(st.integers(-n, n - 1), max_size=20))
    values = np.arange(n) * 10
    part = Subset(values, indices)
    assert [int(part[i]) for i in range(len(part))] == [int(values[i]) for i in indices]
    if indices:
        assert int(part[-1]) == int(values[indices[-1]])
        assert list(part[::2].indices) == [i % n for i in indices[::2]]


@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_concatenated_datasets_are_their_items_one_after_the_other(sizes):
    lists = [[(k, i) for i in range(size)] for k, size in enumerate(sizes)]
    whole = ConcatDataset(lists)
    flat = [item for items in lists for item in items]
    assert len(whole) == len(flat)
    assert [whole[i] for i in range(len(flat))] == flat
    assert [whole[i] for i in range(-len(flat), 0)] == flat
    assert list(whole) == flat


@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_a_random_split_gives_each_item_to_one_part(counts, seed):
    n = sum(counts)
    parts = random_split(range(n), counts, seed=seed)
    assert [len(part) for part in parts] == counts
    assert sorted(item for part in parts for item in part) == list(range(n))
    again = random_split(range(n), counts, np.random.default_rng(seed))
    assert [list(part) for part in parts] == [list(part) for part in again]


@pytest.mark.parametrize(
    ("n", "fractions", "counts"),
    [
        (12, [0.3, 0.3, 0.4], [4, 4, 4]),
        (10, [0.3, 0.3, 0.4], [3, 3, 4]),
        (11, [0.5, 0.5], [6, 5]),
        (7, [1], [7]),
        (5, [0.1, 0.9], [1, 4]),
        (1, [1], [1]),
    ],
)
def test_fractions_are_rounded_down_and_the_rest_is_dealt_out(n, fractions, counts):
    assert [len(part) for part in random_split(range(n), fractions, seed=0)] == counts


def test_a_random_split_repeats_after_manual_seed_and_is_random():
    tg.manual_seed(3)
    first = random_split(range(50), [20, 30])
    tg.manual_seed(3)
    assert [list(part) for part in first] == [list(part) for part in random_split(range(50), [20, 30])]
    assert list(first[0]) != list(random_split(range(50), [20, 30])[0])
    assert list(first[0]) != list(range(20))


def test_weights_that_are_far_apart_are_drawn_as_long_as_float64_tells_them_from_nothing():
    for weights in ([1e300, 1e-20, 1.0], [1.0, 5e-324, 0.5]):
        drawn = list(WeightedRandomSampler(weights, 3, False, np.random.default_rng(0)))
        assert sorted(drawn) == [0, 1, 2]
        assert drawn[2] == 1
    assert sorted(WeightedRandomSampler([1e300, 1e-300, 1.0], 2, False, np.random.default_rng(0))) == [0, 2]
    assert set(WeightedRandomSampler([1e300, 1e-300, 1.0], 50, generator=np.random.default_rng(0))) == {0}


class Nothing(Dataset):
    pass


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Subset(iter([1]), [0]), TypeError, "Subset: dataset is of type list_iterator; it needs len(dataset)"),
        (lambda: Subset([1, 2], [2]), IndexError, "Subset: index 2 of 2 items; it needs -2 to 1"),
        (lambda: Subset([1, 2], [0.5]), TypeError, "Subset: index 0.5 is of type float; it needs a whole number"),
        (lambda: Subset([1, 2], [True]), TypeError, "Subset: index True is of type bool; it needs a whole number"),
        (lambda: TensorDataset(np.zeros((3, 2)))[True], TypeError, "TensorDataset: index True is of type bool"),
        (lambda: TensorDataset(np.zeros((3, 2)))[np.False_], TypeError, "TensorDataset: index np.False_ is of type"),
        (lambda: Subset([1, 2], [0])[1], IndexError, "Subset: index 1 of 1 items"),
        (lambda: ConcatDataset([]), ValueError, "ConcatDataset: no datasets; it needs at least one"),
        (lambda: ConcatDataset([3]), TypeError, "ConcatDataset: dataset is of type int; it needs len(dataset)"),
        (lambda: ConcatDataset([[1], [2]])[2], IndexError, "ConcatDataset: index 2 of 2 items; it needs -2 to 1"),
        (lambda: random_split(3, [3]), TypeError, "random_split: dataset is of type int"),
        (lambda: random_split([1, 2], [1, 2]), ValueError, "random_split: the lengths [1, 2] sum to 3; they must be 0"),
        (lambda: random_split([1, 2], [3, -1]), ValueError, "random_split: the lengths [3, -1] sum to 2; they must"),
        (lambda: random_split([1, 2], [0.5, 0.6]), ValueError, "random_split: the fractions [0.5, 0.6] sum to 1.1;"),
        (lambda: random_split([1, 2], [1.5, -0.5]), ValueError, "random_split: the fractions [1.5, -0.5] sum to 1.0;"),
        (lambda: random_split([1, 2], []), TypeError, "random_split: lengths=[]; it needs numbers of items"),
        (lambda: random_split([1, 2], ["2"]), TypeError, "random_split: lengths=['2']; it needs numbers of items"),
        (lambda: random_split([1], [1], np.random), TypeError, "random_split: generator is of type module; it needs"),
        (lambda: random_split([1], [1], np.random.default_rng(1), seed=1), ValueError, "random_split: both seed and"),
        (lambda: len(Nothing()), NotImplementedError, "Nothing: no __len__; a Dataset needs one; return the number"),
        (lambda: Nothing()[3], NotImplementedError, "Nothing: no __getitem__; a Dataset needs one; return item 3"),
        (lambda: iter(Sampler()), NotImplementedError, "Sampler: no __iter__; a Sampler needs one; yield the indices"),
        (lambda: len(Sampler()), NotImplementedError, "Sampler: no __len__; a Sampler needs one"),
        (lambda: RandomSampler([]), ValueError, "RandomSampler: the dataset is empty; it needs at least one item"),
        (lambda: RandomSampler([1], num_samples=0), ValueError, "RandomSampler: num_samples=0; it needs 1 or more"),
        (lambda: RandomSampler([1], num_samples=1.0), TypeError, "RandomSampler: num_samples=1.0; it needs a whole"),
        (lambda: RandomSampler([1], generator=5), TypeError,
         "RandomSampler: generator is of type int; it needs a numpy.random.Generator; give numpy.random.default_rng"),
        (lambda: WeightedRandomSampler([1], 1, generator=np.random), TypeError,
         "WeightedRandomSampler: generator is of type module; it needs a numpy.random.Generator"),
        (lambda: random_split([1], [1], seed=-1), ValueError, "random_split: seed=-1; it needs 0 or more"),
        (lambda: random_split([1], [1], seed="x"), TypeError, "random_split: seed='x'; it needs a whole number"),
        (lambda: BatchSampler([1], 0), ValueError, "BatchSampler: batch_size=0; it needs 1 or more"),
        (lambda: WeightedRandomSampler([[1.0]], 1), ValueError, "WeightedRandomSampler: weights of shape (1, 1); it"),
        (lambda: WeightedRandomSampler([1.0, -1.0], 1), ValueError, "WeightedRandomSampler: the weights must be"),
        (lambda: WeightedRandomSampler([0.0], 1), ValueError, "WeightedRandomSampler: the weights must be"),
        (lambda: WeightedRandomSampler([np.nan], 1), ValueError, "WeightedRandomSampler: the weights must be"),
        (lambda: WeightedRandomSampler([1, 0], 2, False), ValueError,
         "WeightedRandomSampler: 2 samples of 1 items with a positive weight; without replacement"),
        (lambda: WeightedRandomSampler([1e300, 1e-300, 1, 0], 3, replacement=False), ValueError,
         "WeightedRandomSampler: 3 samples of 3 items with a positive weight, but 1 of these weights are nothing in "
         "float64 beside the largest, 1e+300; without replacement there cannot be more than 2; give weights that "
         "differ less, replacement=True or fewer samples"),
        (lambda: WeightedRandomSampler([3.0, 3.0, 3 * 5e-324], 3, replacement=False), ValueError,
         "but 1 of these weights are nothing in float64 beside the largest, 3.0; "),
    ],
)  # fmt: skip
def test_what_makes_no_part_and_no_sampler_is_named(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


# Samplers


def test_the_samplers_give_what_they_say():
    assert list(SequentialSampler("abc")) == [0, 1, 2]
    generator = np.random.default_rng(0)
    assert sorted(RandomSampler(range(9), generator=generator)) == list(range(9))
    longer = list(RandomSampler(range(3), num_samples=7, generator=generator))
    assert sorted(longer[:3]) == sorted(longer[3:6]) == [0, 1, 2]
    assert len(longer) == len(RandomSampler(range(3), num_samples=7)) == 7
    assert len(set(RandomSampler(range(5), replacement=True, num_samples=400, generator=generator))) == 5
    assert sorted(WeightedRandomSampler([1, 0, 5, 1e300], 3, False, generator)) == [0, 2, 3]


@given(n=st.integers(0, 20), batch_size=st.integers(1, 8), drop_last=st.booleans())
def test_a_batch_sampler_cuts_the_indices_into_batches(n, batch_size, drop_last):
    sampler = BatchSampler(range(n), batch_size, drop_last)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert [row for batch in batches for row in batch] == list(range(n - n % batch_size if drop_last else n))
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_weights_are_frequencies():
    drawn = np.bincount(list(WeightedRandomSampler([1, 0, 3], 4000, generator=np.random.default_rng(0))))
    assert drawn[1] == 0
    assert 870 < drawn[0] < 1130  # 1000 +- 4.7 standard deviations


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_follows_its_sampler(num_workers):
    dataset = TensorDataset(np.arange(10))
    loader = DataLoader(dataset, 2, sampler=[9, 3, 3, 0, 1], num_workers=num_workers)
    assert numbers(loader) == [[[9, 3]], [[3, 0]], [[1]]]
    assert len(loader) == 3
    loader = DataLoader(dataset, batch_sampler=[[4], [1, 2, 3]], num_workers=num_workers)
    assert numbers(loader) == [[[4]], [[1, 2, 3]]]
    assert len(loader) == 2


@pytest.mark.parametrize("num_workers", [0, 3])
def test_a_sampler_without_an_end_is_read_as_far_as_it_is_used(num_workers):
    endless = (i % 4 for i in count())
    batches = iter(DataLoader([10, 11, 12, 13], 3, sampler=endless, num_workers=num_workers))
    assert [next(batches).numpy().tolist() for _ in range(3)] == [[10, 11, 12], [13, 10, 11], [12, 13, 10]]


def test_an_index_drawn_twice_is_made_of_other_random_numbers():
    (rows, draws), = DataLoader(Draws(5), 3, sampler=[2, 2, 4], seed=0)  # fmt: skip
    assert rows.numpy().tolist() == [2, 2, 4]
    assert len(np.unique(draws.numpy(), axis=0)) == 3


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_negative_index_is_that_of_the_item_from_the_end_with_its_random_numbers(num_workers):
    def drawn(sampler):
        return [[part.tolist() for part in batch] for batch in DataLoader(Draws(5), 2, sampler=sampler, seed=0,
                                                                          num_workers=num_workers)]  # fmt: skip

    assert drawn([0, -1, np.int64(-5), 2, -2]) == drawn([0, 4, 0, 2, 3])  # item 0 comes twice
    assert drawn([0, -1])[0][0] == [0, 4]
    ((rows, _),) = DataLoader(Draws(5), batch_sampler=[[-1, 4]], seed=0, num_workers=num_workers)
    assert rows.tolist() == [4, 4]
    for wrong in (-6, 5):
        with pytest.raises(IndexError, match=f"the sampler gave {wrong}; the dataset has 5 items, 0 to 4, or -5 to -1"):
            drawn([0, wrong])


# Threads


@given(
    n=st.integers(1, 40),
    batch_size=st.integers(1, 9),
    num_workers=st.integers(1, 4),
    prefetch_factor=st.none() | st.integers(1, 3),
    seed=st.none() | st.integers(0, 9),
)
def test_order_contents_and_random_numbers_are_the_same_for_any_number_of_workers(
    n, batch_size, num_workers, prefetch_factor, seed
):
    runs = []
    for options in ({}, {"num_workers": num_workers, "prefetch_factor": prefetch_factor}):
        tg.manual_seed(7)
        loader = DataLoader(Draws(n), batch_size, shuffle=True, seed=seed, **options)
        runs.append(numbers(loader) + numbers(loader))
    assert runs[0] == runs[1]
    rows = [row for batch in runs[0][: -(-n // batch_size)] for row in batch[0]]
    assert sorted(rows) == list(range(n))
    assert workers_alive() == []


def test_the_random_numbers_of_an_item_depend_on_seed_pass_and_index_alone():
    def drawn(**options):
        loader = DataLoader(Draws(12), seed=options.pop("seed", 5), **options)
        passes = [numbers(loader) for _ in range(2)]
        return [{i: tuple(x) for rows, xs in batches for i, x in zip(rows, xs, strict=True)} for batches in passes]

    first, second = drawn(batch_size=4)
    assert [first, second] == drawn(batch_size=5, shuffle=True, num_workers=2)
    assert len({*first.values(), *second.values(), *drawn(batch_size=4, seed=6)[0].values()}) == 36
    source = np.random.default_rng(np.random.SeedSequence(5, spawn_key=(1, 0, 3)))  # pass 1, an item, index 3
    with drawing_from(lambda: source):
        assert second[3] == tuple(tg.rand(3).numpy().tolist())


def test_setting_the_epoch_resumes_the_random_numbers_too():
    loader = DataLoader(Draws(6), 2, shuffle=True, seed=1)
    passes = [numbers(loader) for _ in range(3)]
    loader.epoch = 1
    assert numbers(loader) == passes[1]


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_a_generator_decides_the_random_numbers_and_is_advanced_by_the_order_alone(kind):
    runs = []
    for num_workers in (0, 2):
        generator, same = np.random.Generator(kind(3)), np.random.Generator(kind(3))
        loader = DataLoader(Draws(6), 2, shuffle=True, generator=generator, num_workers=num_workers)
        runs.append([numbers(loader), numbers(loader)])
        for _ in range(2):
            same.permutation(6)
        assert same.integers(2**60) == generator.integers(2**60)
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[0][1]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_items_leave_the_default_generator_alone(num_workers):
    tg.manual_seed(0)
    before = tg.default_generator().bit_generator.state
    numbers(DataLoader(Draws(6), 2, num_workers=num_workers))
    assert tg.default_generator().bit_generator.state == before


def test_a_collate_function_draws_the_same_numbers_on_any_worker():
    def noisy(items):
        return tg.rand(len(items)).numpy().tolist()

    runs = [list(DataLoader(range(7), 3, collate_fn=noisy, seed=2, num_workers=k)) for k in (0, 1, 3)]
    assert runs[0] == runs[1] == runs[2]
    assert runs[0][0] != runs[0][1]


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_an_error_comes_in_its_place_with_the_index_of_the_item(num_workers):
    batches = iter(DataLoader(Faulty(9), 2, num_workers=num_workers))
    assert [next(batches).numpy().tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(LookupError, match=re.escape("no file 5.png")) as caught:
        next(batches)
    assert caught.value.__notes__ == ["DataLoader: raised by item 5 of a Faulty"]
    assert list(batches) == []
    assert workers_alive() == []


def test_an_error_of_the_collate_function_and_of_the_start_of_a_worker_arrive():
    def broken(argument):
        raise LookupError(f"broken {argument}")

    with pytest.raises(LookupError, match=re.escape("broken [0, 1]")):
        next(iter(DataLoader(range(4), 2, collate_fn=broken, num_workers=1)))
    with pytest.raises(LookupError, match="broken 0"):
        next(iter(DataLoader(range(4), 2, num_workers=1, worker_init_fn=broken)))
    assert workers_alive() == []


def test_a_dropped_closed_or_interrupted_iterator_leaves_no_thread():
    loader = DataLoader(Draws(50), 2, num_workers=3)
    never_started = iter(loader)
    assert workers_alive() == []
    del never_started

    dropped = iter(loader)
    next(dropped)
    assert len(workers_alive()) == 3
    del dropped
    assert workers_alive() == []

    closed = iter(loader)
    next(closed)
    closed.close()
    assert workers_alive() == []

    interrupted = iter(loader)
    next(interrupted)
    with pytest.raises(KeyboardInterrupt):
        interrupted.throw(KeyboardInterrupt)  # what Ctrl-C does to a waiting consumer
    assert workers_alive() == []


def test_an_interrupt_while_waiting_ends_the_workers_after_their_items():
    begun, go = threading.Event(), threading.Event()

    class Slow(Draws):
        def __getitem__(self, index):
            begun.set()
            go.wait()
            made.append(index)
            return index

    class Interrupted:
        """Raises in the consumer, when it takes one more list of indices while an item is under way."""

        def __iter__(self):
            yield [0, 1, 2, 3]
            begun.wait()
            threading.Timer(0.0, go.set).start()
            raise KeyboardInterrupt

    made = []
    with pytest.raises(KeyboardInterrupt):
        next(iter(DataLoader(Slow(4), batch_sampler=Interrupted(), num_workers=1)))
    assert workers_alive() == []
    assert len(made) <= 4


def test_only_so_many_batches_are_made_ahead():
    taken = []

    class Counted(Sampler):
        def __iter__(self):
            for i in range(20):
                taken.append(i)
                yield i

    batches = iter(DataLoader(range(20), 1, sampler=Counted(), num_workers=2, prefetch_factor=3))
    next(batches)
    assert len(taken) == 6
    next(batches)
    assert len(taken) == 7


def test_several_threads_make_batches_at_the_same_time():
    meeting = threading.Barrier(3)

    class Meeting(Draws):
        def __getitem__(self, index):
            meeting.wait(60)  # three items must be under way, or the barrier breaks
            return threading.get_ident()

    batches = list(DataLoader(Meeting(3), 1, num_workers=3))
    assert len({int(batch.numpy()[0]) for batch in batches}) == 3


def test_each_worker_begins_once_with_its_number():
    begun = []
    meeting = threading.Barrier(2)

    def begin(k):
        begun.append(k)
        meeting.wait(60)

    list(DataLoader(range(9), 1, num_workers=2, worker_init_fn=begin))
    assert sorted(begun) == [0, 1]


def test_workers_keep_the_mode_and_the_error_state_of_the_consumer():
    class Modes(Draws):
        def __getitem__(self, index):
            return int(tg.is_grad_enabled()), int(np.geterr()["divide"] == "raise")

    with tg.no_grad(), np.errstate(divide="raise"):
        ((grad, divide),) = list(DataLoader(Modes(2), 2, num_workers=1))
    assert (grad.numpy().tolist(), divide.numpy().tolist()) == ([0, 0], [1, 1])


def test_a_batch_that_was_taken_is_not_kept():
    class Batch(list):
        __slots__ = ("__weakref__",)

    batches = iter(DataLoader(range(9), 1, num_workers=1, collate_fn=Batch))
    taken = weakref.ref(next(batches))
    next(batches)
    gc.collect()
    assert taken() is None


def test_a_part_of_a_tensor_dataset_is_gathered_like_its_items():
    dataset = TensorDataset(np.arange(20).reshape(10, 2), np.arange(10))
    part = Subset(Subset(dataset, [7, 1, 5, 3]), [2, 0, 3])
    ((x, y),) = DataLoader(part, 3)
    assert x.numpy().tolist() == [[10, 11], [14, 15], [6, 7]]
    assert y.numpy().tolist() == [5, 7, 3]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_workers": -1}, ValueError, "num_workers=-1; it needs 0 or more"),
        ({"num_workers": 1.5}, TypeError, "num_workers=1.5; it needs a whole number, 0 or more"),
        ({"num_workers": 1, "prefetch_factor": 0}, ValueError, "prefetch_factor=0; it needs 1 or more"),
        ({"prefetch_factor": 2}, ValueError, "prefetch_factor=2 with num_workers=0; only workers make batches ahead"),
        ({"pin_memory": "cuda"}, TypeError, "pin_memory='cuda'; it needs True or False"),
        ({"persistent_workers": 1}, TypeError, "persistent_workers=1; it needs True or False"),
        ({"worker_init_fn": 3}, TypeError, "worker_init_fn=3; it needs a function of a worker's number"),
        ({"sampler": 3}, TypeError, "sampler is of type int; it needs indices that can be iterated"),
        ({"batch_sampler": 3}, TypeError, "batch_sampler is of type int; it needs indices that can be iterated"),
        ({"sampler": [0], "shuffle": True}, ValueError, "both sampler and shuffle=True; either one decides the order"),
        ({"batch_sampler": [[0]], "batch_size": 2}, ValueError, "batch_sampler beside batch_size, shuffle, sampler or"),
        ({"batch_sampler": [[0]], "drop_last": True}, ValueError, "batch_sampler beside batch_size, shuffle, sampler"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_named(options, error, message):
    with pytest.raises(error, match=re.escape(f"DataLoader: {message}")):
        DataLoader([1, 2, 3], **options)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sampler": ["0"]}, TypeError, "the sampler gave '0'; it must give whole numbers, indices of the dataset"),
        ({"sampler": [0, 3]}, IndexError, "the sampler gave 3; the dataset has 3 items, 0 to 2"),
        ({"batch_sampler": [[0], [-4]]}, IndexError, "the batch_sampler gave -4; the dataset has 3 items, 0 to 2"),
    ],
)
def test_a_wrong_index_is_named(options, error, message, num_workers):
    with pytest.raises(error, match=re.escape(f"DataLoader: {message}")):
        list(DataLoader([1, 2, 3], **options, num_workers=num_workers))
    assert workers_alive() == []


def test_the_length_of_a_sampler_must_be_known_only_when_asked_for():
    loader = DataLoader([1, 2, 3], sampler=iter([0, 1]))
    message = "DataLoader: the sampler of type list_iterator has no length, so the number of batches is unknown"
    with pytest.raises(TypeError, match=re.escape(message)):
        len(loader)
    assert len(list(loader)) == 2


def test_pytorch_s_options_for_devices_are_accepted():
    loader = DataLoader(range(4), 2, num_workers=1, pin_memory=True, persistent_workers=True)
    assert [batch.numpy().tolist() for batch in loader] == [[0, 1], [2, 3]]
