"""`tg.doctor`: every code has a model that gives it and a like one that does not; nothing is left changed."""

import copy
import pickle
import random

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, nn, optim
from tinygrad_cnn.checkup import CHECKS, Finding, Findings
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.random import default_generator
from tinygrad_cnn.watching import watchers

CODES = tuple(check.code for check in CHECKS)
rng = np.random.default_rng(5)
X, Y = rng.normal(size=(12, 5)).astype("float32"), np.arange(12) % 3
IMAGES = rng.normal(size=(12, 2, 6, 6)).astype("float32")
SCORES = rng.random((12, 1)).astype("float32").round()


def dense(*layers, features=5, classes=3, seed=0):
    tg.manual_seed(seed)
    return nn.Sequential(nn.Linear(features, 16), nn.ReLU(), *layers, nn.Linear(16, classes))


def conv(*layers, bias=True, **options):
    tg.manual_seed(0)
    first = nn.Conv2d(2, 4, 3, bias=bias, **options)
    return nn.Sequential(first, *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


class Calls(nn.Module):
    """A net whose forward is a function of itself and x."""

    def __init__(self, function, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def line(**parts):
    tg.manual_seed(0)
    return {"fc": nn.Linear(5, 3), **parts}


def sgd(model, lr=0.01):
    return optim.SGD(model.parameters(), lr=lr)


def named(model, *names):
    return optim.SGD([p for name, p in model.named_parameters() if name in names], lr=0.01)


def scaled(model, path, factor):
    dict(model.named_parameters())[path].data *= factor
    return model


def filled(model, path, value):
    dict(model.named_parameters())[path].data.array[...] = value
    return model


def deep(activation, n=9):
    tg.manual_seed(0)
    layers = [layer for _ in range(n) for layer in (nn.Linear(8, 8), activation())]
    return nn.Sequential(nn.Linear(5, 8), *layers, nn.Linear(8, 3))


def by_hand(outputs, targets):
    return ((outputs - targets) ** 2).mean()


LEAK = Tensor(np.ones(3, "float32"), requires_grad=True)


def with_attribute(kind):
    net = Calls(lambda self, x: self.fc(x) + self.shift, **line())
    net.shift = kind(np.zeros(3, "float32"), requires_grad=True)
    return net


def frozen(model):
    for p in model.parameters():
        p.requires_grad_(False)
    return model.eval()


def every_other_pixel():
    return nn.Sequential(nn.Conv2d(2, 4, 1, stride=2), nn.Flatten(), nn.Linear(36, 3))


def with_decay():
    net = dense()
    return net, X, Y, lambda outputs, targets: F.cross_entropy(outputs, targets) + (net[0].weight ** 2).sum() * 1e-3


def detached(self, x):
    return self.fc(x) + self.other(x).detach()


# code -> (arguments that give it, arguments that do not)
CASES = {
    "TGC001": [
        (lambda: (dense(nn.Identity(), classes=3).append(nn.Softmax(1)), X, Y), lambda: (dense(), X, Y)),
        (lambda: (Calls(lambda self, x: F.softmax(self.fc(x), 1).reshape(3, 12).reshape(12, 3), **line()), X, Y),
         lambda: (Calls(lambda self, x: F.softmax(self.fc(x), 1) * 9.0, **line()), X, Y)),
        (lambda: (dense().append(nn.LogSoftmax(1)), X, Y),
         lambda: (dense().append(nn.LogSoftmax(1)), X, Y, nn.NLLLoss())),
    ],
    "TGC002": [
        (lambda: (dense(classes=1).append(nn.Sigmoid()), X, SCORES, nn.BCEWithLogitsLoss()),
         lambda: (dense(classes=1).append(nn.Sigmoid()), X, SCORES, nn.BCELoss())),
    ],
    "TGC003": [
        (lambda: (dense().append(nn.Softmax(1)), X, Y, nn.NLLLoss()),
         lambda: (dense().append(nn.LogSoftmax(1)), X, Y, nn.NLLLoss())),
    ],
    "TGC004": [
        (lambda: (dense(classes=1), X, SCORES[:, 0], by_hand), lambda: (dense(classes=1), X, SCORES, by_hand)),
    ],
    "TGC005": [
        (lambda: (conv(nn.BatchNorm2d(4)), IMAGES, Y), lambda: (conv(nn.BatchNorm2d(4), bias=False), IMAGES, Y)),
        (lambda: (conv(nn.BatchNorm2d(4)), IMAGES, Y), lambda: (conv(nn.ReLU(), nn.BatchNorm2d(4)), IMAGES, Y)),
    ],
    "TGC006": [
        (lambda: (dense().append(nn.ReLU()), X, Y), lambda: (dense(), X, Y)),
    ],
    "TGC007": [
        (lambda: (conv(stride=2), IMAGES, Y), lambda: (conv(stride=3), IMAGES, Y)),
        (lambda: (conv(stride=2), IMAGES, Y), lambda: (every_other_pixel(), IMAGES, Y)),
        (lambda: (conv(nn.MaxPool2d(3)), IMAGES, Y), lambda: (conv(nn.MaxPool2d(2)), IMAGES, Y)),
        (lambda: (conv(nn.AvgPool2d(3)), IMAGES, Y), lambda: (conv(nn.AvgPool2d(3, ceil_mode=True)), IMAGES, Y)),
    ],
    "TGC008": [
        (lambda: (with_attribute(Tensor), X, Y), lambda: (with_attribute(nn.Parameter), X, Y)),
        (lambda: (Calls(lambda self, x: self.fc(x) * LEAK, **line()), X, Y), with_decay),
    ],
    "TGC009": [
        (lambda: (Calls(lambda self, x: self.fc(x), **line(other=nn.Linear(5, 3))), X, Y),
         lambda: (Calls(lambda self, x: self.fc(x) + self.other(x), **line(other=nn.Linear(5, 3))), X, Y)),
        (lambda: (Calls(detached, **line(other=nn.Linear(5, 3))), X, Y), lambda: (dense(), X, Y)),
    ],
    "TGC010": [
        (lambda: (m := dense(), X, Y, None, named(m, "0.weight", "0.bias")),
         lambda: (m := dense(), X, Y, None, sgd(m))),
        (lambda: (m := dense(), X, Y, None, sgd(m, 0.0)), lambda: (m := dense(), X, Y, None, sgd(m))),
    ],
    "TGC011": [
        (lambda: (m := dense(), X, Y, None, sgd(m, 30.0)), lambda: (m := dense(), X, Y, None, sgd(m, 0.05))),
        (lambda: (m := dense(), X, Y, None, sgd(m, 1e-7)), lambda: (m := dense(), X, Y, None, sgd(m, 1e-4))),
    ],
    "TGC012": [
        (lambda: (deep(nn.Sigmoid), X, Y), lambda: (deep(nn.ReLU, 2), X, Y)),
    ],
    "TGC013": [
        (lambda: (dense(nn.Dropout(0.2)).eval(), X, Y), lambda: (dense(nn.Dropout(0.2)), X, Y)),
        (lambda: (conv(nn.BatchNorm2d(4), bias=False).eval(), IMAGES, Y),
         lambda: (conv(frozen(nn.BatchNorm2d(4)), bias=False), IMAGES, Y)),
        (lambda: (dense(nn.Dropout(0.2)).eval(), X, Y), lambda: (dense().eval(), X, Y)),
    ],
    "TGC015": [
        (lambda: (conv(nn.BatchNorm2d(4), bias=False), IMAGES[:1], Y[:1]),
         lambda: (conv(nn.BatchNorm2d(4), bias=False), IMAGES[:2], Y[:2])),
        (lambda: (conv(nn.BatchNorm2d(4), bias=False), IMAGES[:1], Y[:1]),
         lambda: (conv(nn.BatchNorm2d(4), bias=False).eval(), IMAGES[:1], Y[:1])),
    ],
    "TGC016": [
        (lambda: (nn.Sequential(nn.Flatten(), nn.Linear(108, 3)), np.resize(IMAGES, (12, 6, 6, 3)), Y),
         lambda: (nn.Sequential(nn.Flatten(), nn.Linear(108, 3)), np.resize(IMAGES, (12, 3, 6, 6)), Y)),
        (lambda: (nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), np.resize(IMAGES, (12, 6, 6, 1)), Y),
         lambda: (nn.Sequential(nn.Conv2d(2, 3, (3, 1)), nn.Flatten(), nn.Linear(12, 3)),
                  np.resize(IMAGES, (12, 2, 6, 1)), Y)),
    ],
    "TGC017": [
        (lambda: (dense(), abs(X) * 100, Y), lambda: (dense(), abs(X), Y)),
        (lambda: (dense(), abs(X) * 100, Y),
         lambda: (Calls(lambda self, x: self.net(x / 255), net=dense()), abs(X) * 100, Y)),
    ],
    "TGC018": [
        (lambda: (dense(), X, Y + 1), lambda: (dense(), X, Y)),
        (lambda: (dense(), X, Y - 1), lambda: (dense(), X, np.where(Y == 1, -100, Y))),
    ],
    "TGC019": [
        (lambda: (Calls(lambda self, x: (self.fc(x) * 0).log(), **line()), X, Y), lambda: (dense(), X, Y)),
        (lambda: (Calls(lambda self, x: (self.fc(x) * 0).sqrt(), **line()), X, Y), lambda: (dense(), X, Y)),
    ],
    "TGC020": [
        (lambda: (filled(dense(), "2.weight", 0.0), X, Y), lambda: (dense(), X, Y)),
        (lambda: (filled(dense(), "2.weight", 0.0), X, Y),
         lambda: (filled(dense(), "2.weight", 0.0), np.ones_like(X), Y)),
    ],
    "TGC021": [
        (lambda: (scaled(dense(), "2.weight", 60.0), X, Y), lambda: (dense(), X, Y)),
    ],
    "TGC022": [
        (lambda: (filled(dense(), "0.bias", -9.0), X, Y), lambda: (dense(), X, Y)),
        (lambda: (conv(nn.ReLU()), IMAGES - 30, Y), lambda: (conv(nn.ReLU()), IMAGES, Y)),
    ],
    "TGC023": [
        (lambda: (scaled(dense(nn.Linear(16, 16), nn.Sigmoid()), "2.weight", 90.0), X, Y),
         lambda: (dense(nn.Linear(16, 16), nn.Sigmoid()), X, Y)),
        (lambda: (scaled(dense(nn.Linear(16, 16), nn.Tanh()), "2.weight", 90.0), X, Y),
         lambda: (scaled(dense(classes=1), "2.weight", 99.0).append(nn.Tanh()), X, SCORES)),
    ],
    "TGC024": [
        (lambda: (Calls(lambda self, x: self.fc(x * 0) * 1e-3, **line()), X, Y), lambda: (dense(), X, Y)),
    ],
}  # fmt: skip
PAIRS = [(code, i) for code, cases in CASES.items() for i in range(len(cases))]


@pytest.mark.parametrize(("code", "i"), PAIRS)
def test_a_code_is_given_where_it_belongs_and_not_beside_it(code, i):
    bad, good = CASES[code][i]
    found = tg.doctor(*bad())
    assert code in found.codes
    assert code not in tg.doctor(*good()).codes
    assert code not in tg.doctor(*bad(), ignore=(code,)).codes
    assert str(found).startswith(f"{len(found)} finding")


def test_training_mode_in_an_evaluation_is_TGC014():
    for net, x in ((dense(nn.Dropout(0.5)), X), (conv(nn.BatchNorm2d(4), bias=False), IMAGES)):
        with tg.no_grad():
            assert tg.doctor(net, x, Y).codes == ("TGC014",)
            assert tg.doctor(net.eval(), x, Y).codes == ()
    assert "TGC014" not in tg.doctor(dense(nn.Dropout(0.5)), X, Y).codes


def test_every_code_is_tested_and_the_codes_are_numbered():
    assert set(CASES) | {"TGC014"} == set(CODES)
    assert CODES == tuple(f"TGC{i:03}" for i in range(1, len(CODES) + 1))


class Lenet(nn.Module):
    """LeNet-5 on digits padded to 32x32."""

    def __init__(self):
        super().__init__()
        self.net = nn.models.LeNet5(generator=np.random.default_rng(0))

    def forward(self, x):
        return self.net(F.pad(x, (12, 12, 12, 12)))


def test_a_healthy_network_gives_nothing():
    images, labels = tg.data.digits("train")
    net = Lenet()
    optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    found = tg.doctor(net, images[:48], labels[:48], nn.CrossEntropyLoss(), optimizer)
    assert (list(found), found.checks) == ([], CODES)
    assert str(found) == repr(found) == "nothing found, 24 checks"
    assert found._repr_html_() == "<p>nothing found, 24 checks</p>"
    net = nn.models.ResNet20(generator=np.random.default_rng(0))
    x = rng.normal(size=(16, 3, 16, 16)).astype("float32")
    assert tg.doctor(net, x, labels[:16], None, optim.Adam(net.parameters())).codes == ()


def test_healthy_models_of_other_kinds_give_nothing_either():
    images, labels = tg.data.digits("train")
    x = np.repeat(F.interpolate(Tensor(images[:16]), size=(32, 32)).numpy(), 3, 1)
    with_dropout = nn.models.vgg11(width=4, generator=np.random.default_rng(0))
    assert tg.doctor(with_dropout, x, labels[:16]).codes == ()
    assert with_dropout.classifier[2].training
    depthwise = nn.models.MobileNetSmall(width=8, generator=np.random.default_rng(0))
    assert tg.doctor(depthwise, x[:, :, ::2, ::2], labels[:16]).codes == ()
    pixels = (x[:4, 0] > 0.5).astype(np.int64)
    assert tg.doctor(nn.models.UNetSmall(2, 3, generator=np.random.default_rng(0)), x[:4], pixels).codes == ()


def state_of(net, optimizer):
    values = {name: t.array.tobytes() for name, t in (*net.named_parameters(), *net.named_buffers())}
    grads = {name: None if p.grad is None else p.grad.array.tobytes() for name, p in net.named_parameters()}
    modes = [m.training for m in net.modules()]
    states = (default_generator().bit_generator.state, np.random.get_state(), random.getstate())  # noqa: NPY002
    return values, grads, modes, pickle.dumps(states), pickle.dumps(optimizer.state_dict())


class Drawing(nn.Module):
    """Draws from every global generator, and counts its calls."""

    def __init__(self):
        super().__init__()
        self.net = conv(nn.BatchNorm2d(4), nn.Dropout2d(0.5), nn.Dropout(0.1, generator=np.random.default_rng(1)))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.net(x) + np.float32(random.random() * np.random.rand())  # noqa: NPY002


@pytest.mark.parametrize("enter", [tg.enable_grad, tg.no_grad])
def test_nothing_is_changed(enter):
    net = Drawing()
    optimizer = optim.Adam(net.parameters())
    F.cross_entropy(net(Tensor(IMAGES)), Y).backward()
    optimizer.step()
    own = net.net[3].generator.bit_generator.state
    x, y, parameters = Tensor(IMAGES, requires_grad=True), Tensor(Y), list(net.parameters())
    before = state_of(net, optimizer)
    with enter():
        tg.doctor(net, x, y, nn.CrossEntropyLoss(), optimizer)
    assert state_of(net, optimizer) == before
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    assert (net.calls, x.grad, watchers) == (1, None, [])
    assert net.net[3].generator.bit_generator.state == own
    np.testing.assert_array_equal(x.numpy(), IMAGES)


def test_a_run_that_fails_changes_nothing_either():
    net = conv(nn.BatchNorm2d(4))
    optimizer = sgd(net)
    before = state_of(net, optimizer)
    with pytest.raises(tg.ShapeError) as caught:
        tg.doctor(net, np.resize(IMAGES, (1, 6, 6, 3)), Y[:1], None, optimizer)
    notes = "\n".join(caught.value.__notes__)
    assert "doctor found before:\nTGC015  batch norm with a batch of 1\n" in notes
    assert "TGC016  channels last\n        what  the input is (1, 6, 6, 3), which looks like (n, h, w, c)" in notes
    assert state_of(net, optimizer) == before
    with pytest.raises(tg.ShapeError) as caught:
        tg.doctor(net, IMAGES[:, :1], Y, ignore=["TGC015"])
    assert "doctor" not in "".join(caught.value.__notes__)


def test_a_leaf_that_is_no_parameter_keeps_its_gradient():
    LEAK.grad = Tensor(np.full(3, 7.0, "float32"))
    (found,) = [f for f in tg.doctor(*CASES["TGC008"][1][0]()) if f.code == "TGC008"]
    np.testing.assert_array_equal(LEAK.grad.numpy(), [7, 7, 7])
    assert found.what.startswith("a Tensor of shape (3,) requires grad, and model.parameters() does not have it")
    (found,) = [f for f in tg.doctor(*CASES["TGC008"][0][0]()) if f.code == "TGC008"]
    assert found.what.startswith("shift of shape (3,) requires grad")


def test_a_finding_says_what_is_where_and_what_to_do():
    found = tg.doctor(*CASES["TGC007"][0][0]())
    finding = next(f for f in found if f.code == "TGC007")
    assert finding.what == "the last 1 of 6 rows and 1 of 6 columns are never read: the windows do not tile (6, 6)"
    assert finding.where.startswith(f"0 (Conv2d), conv2d, {__file__}:")
    assert "solve_conv" in finding.remedy
    assert f"TGC007  pixels that no window reads\n        what  {finding.what}\n        where 0 (Conv2d)" in str(found)
    first = tg.doctor(*CASES["TGC018"][0][0]())[0]
    assert first.what == "4 of 12 labels are no class of the 3 of an output of (12, 3): 3"
    assert first.remedy == "labels - 1: they count from 1"
    assert "labels 0 to 2" in tg.doctor(*CASES["TGC018"][1][0]())[0].remedy
    cases = {"TGC012": "the gradient vanishes on its way back", "TGC011": "around 0.001 is usual",
             "TGC010": "the optimizer does not have 2.weight, 2.bias", "TGC009": "no path leads from other.weight, "
             "other.bias to the loss", "TGC004": "sub of (12, 1) and (12,) in the loss is (12, 12)"}  # fmt: skip
    for code, text in cases.items():
        assert text in next(f.what for f in tg.doctor(*CASES[code][0][0]()) if f.code == code)
    assert "lr is 0 for 0.weight" in str(tg.doctor(*CASES["TGC010"][1][0]()))


def test_of_many_findings_of_one_code_three_are_told():
    layers = [layer for _ in range(5) for layer in (nn.Linear(5, 5), nn.BatchNorm1d(5))]
    found = [f for f in tg.doctor(nn.Sequential(*layers, nn.Linear(5, 3)), X, Y) if f.code == "TGC005"]
    assert [f.where.partition(" ")[0] for f in found] == ["0", "2", "4"]
    assert [f.where.endswith(" (and 2 places more)") for f in found] == [False, False, True]
    three = tg.doctor(nn.Sequential(*layers[:6], nn.Linear(5, 3)), X, Y)
    assert "more" not in "".join(f.where for f in three if f.code == "TGC005")


def test_html_is_a_table_and_escapes():
    found = Findings([Finding("TGC001", "a < b", "<script>", "here", "do & see")], ("TGC001",))
    html = found._repr_html_()
    assert html.startswith("<p>1 finding, 1 check</p><table><tr><th>code</th>")
    assert "<td>a &lt; b</td><td>&lt;script&gt;</td><td>here</td><td>do &amp; see</td>" in html
    assert str(Findings([Finding("TGC009", "t", "w", "", "r")], ())).count("where") == 0


def test_checks_that_have_nothing_to_look_at_are_not_counted():
    assert set(CODES) - set(tg.doctor(dense(), X, Y).checks) == {"TGC010", "TGC011"}
    assert "TGC024" not in tg.doctor(dense(), X, Y, ignore=["TGC024"]).checks
    assert tg.doctor(dense(), X, Y, ignore="TGC024").checks == tg.doctor(dense(), X, Y, ignore=["TGC024"]).checks


def test_several_inputs_are_a_tuple_and_a_loss_may_be_any_function():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = dense(), dense(seed=1)

        def forward(self, x, y):
            return self.a(x) + self.b(y)

    assert tg.doctor(Two(), (X, -X), Y, lambda out, y: F.cross_entropy(out, y)).codes == ()


def test_a_model_that_has_learned_is_not_asked_to_learn():
    net = dense()
    optimizer = optim.Adam(net.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(net(Tensor(X)), Y).backward()
        optimizer.step()
    assert "TGC024" not in tg.doctor(net, X, Y).codes
    exact = dense(classes=1)
    assert "TGC024" not in tg.doctor(exact, X, exact(Tensor(X)).detach()).codes
    assert "TGC024" in tg.doctor(copy.deepcopy(net), X, np.roll(Y, 1), lambda out, y: (out * 0).sum() + 1.0).codes


def test_an_empty_batch_and_a_batch_of_one_number_are_looked_at():
    assert "TGC019" in tg.doctor(dense(), X[:0], Y[:0]).codes  # the mean over nothing
    net = Calls(lambda self, x: self.fc(x).sum(), fc=nn.Linear(5, 1))
    assert "TGC024" not in tg.doctor(net, X[0], Tensor(3.0)).codes


def test_what_is_no_model_batch_or_code_is_refused():
    with pytest.raises(TypeError, match="doctor: model is a function; a Module is needed"):
        tg.doctor(lambda x: x, X, Y)
    with pytest.raises(TypeError, match="doctor: optimizer is a float; an Optimizer or None is needed"):
        tg.doctor(dense(), X, Y, None, 0.1)
    with pytest.raises(TypeError, match="doctor: y is a str; a Tensor or an array of numbers is needed"):
        tg.doctor(dense(), X, "labels")
    with pytest.raises(ValueError, match="doctor: x is an empty tuple; at least one input is needed"):
        tg.doctor(dense(), (), Y)
    with pytest.raises(ValueError, match="doctor: ignore names TGC999; the codes are TGC001 to TGC024"):
        tg.doctor(dense(), X, Y, ignore=["TGC999", "TGC001"])
    with pytest.raises(TypeError, match="doctor: the model gives a tuple; one Tensor is needed"):
        tg.doctor(Calls(lambda self, x: (x, x), **line()), X, Y)
    with pytest.raises(TypeError, match="doctor: the loss gives a float; one Tensor is needed"):
        tg.doctor(dense(), X, Y, lambda out, y: 1.0)


def test_a_model_that_cannot_be_copied_is_refused_with_a_reason():
    net = dense()
    net.lock = (i for i in ())
    with pytest.raises(TypeError) as caught:
        tg.doctor(net, X, Y)
    assert caught.value.__notes__ == ["doctor: it looks at a copy of the model, and this model cannot be copied"]


@pytest.mark.parametrize("training", [True, False])
def test_a_lazy_model_is_looked_at_like_one_whose_sizes_are_given(training):
    def net(features):
        first, second = (np.random.default_rng(seed) for seed in range(2))
        hidden = nn.Linear(features, 4, generator=first)
        return nn.Sequential(
            nn.BatchNorm2d(2), nn.Flatten(), hidden, nn.Softmax(1), nn.Linear(4, 3, generator=second), nn.Softmax(1)
        )

    lazy = net(None)
    with tg.set_grad_enabled(training):
        found, plain = tg.doctor(lazy, IMAGES, Y), tg.doctor(net(72), IMAGES, Y)
    assert str(found) == str(plain)
    assert "TGC001" in str(found)
    assert lazy[2].in_features is None
    np.testing.assert_array_equal(lazy[0].running_mean.numpy(), 0)


def test_a_lazy_layer_that_no_forward_reaches_is_told():
    model = Calls(lambda self, x: self.used(x), used=nn.Linear(None, 3), idle=nn.Linear(None, 4))
    found = tg.doctor(model, X, Y, ignore=["TGC024"])
    assert [finding.code for finding in found] == ["TGC009"]
    assert found[0].what == "no path leads from idle.weight, idle.bias to the loss"


def test_what_a_lazy_model_refuses_is_raised_as_by_the_model_itself():
    with pytest.raises(tg.ShapeError, match="Linear: x has shape"):
        tg.doctor(nn.Sequential(nn.Linear(None, 3)), np.ones((4, 0), "float32"), np.zeros(4, int))
