"""VGG in the style of torchvision's models, trained with label smoothing and clipped gradients.

Only the import lines are not PyTorch's. The images are random patterns, one for each class, under noise.

    python examples/pytorch_style/vgg.py --arch vgg11_bn --steps 20
"""

import argparse
from typing import Any, cast

import tinygrad_cnn as torch
import tinygrad_cnn.nn as nn
import tinygrad_cnn.optim as optim
from tinygrad_cnn.utils.data import DataLoader, TensorDataset, random_split


class VGG(nn.Module):
    def __init__(
        self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(
            nn.Linear(128 * 2 * 2, 256),
            nn.ReLU(True),
            nn.Dropout(p=dropout),
            nn.Linear(256, 256),
            nn.ReLU(True),
            nn.Dropout(p=dropout),
            nn.Linear(256, num_classes),
        )
        if init_weights:
            for m in self.modules():
                if isinstance(m, nn.Conv2d):
                    nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
                    if m.bias is not None:
                        nn.init.constant_(m.bias, 0)
                elif isinstance(m, nn.BatchNorm2d):
                    nn.init.constant_(m.weight, 1)
                    nn.init.constant_(m.bias, 0)
                elif isinstance(m, nn.Linear):
                    nn.init.normal_(m.weight, 0, 0.05)
                    nn.init.constant_(m.bias, 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        x = self.avgpool(x)
        x = torch.flatten(x, 1)
        x = self.classifier(x)
        return x


def make_layers(cfg: list[str | int], batch_norm: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    in_channels = 3
    for v in cfg:
        if v == "M":
            layers += [nn.MaxPool2d(kernel_size=2, stride=2)]
        else:
            v = cast(int, v)
            conv2d = nn.Conv2d(in_channels, v, kernel_size=3, padding=1)
            if batch_norm:
                layers += [conv2d, nn.BatchNorm2d(v), nn.ReLU(inplace=True)]
            else:
                layers += [conv2d, nn.ReLU(inplace=True)]
            in_channels = v
    return nn.Sequential(*layers)


cfgs: dict[str, list[str | int]] = {  # a quarter of the channels of the paper's networks A and B
    "A": [16, "M", 32, "M", 64, 64, "M", 128, 128, "M"],
    "B": [16, 16, "M", 32, 32, "M", 64, 64, "M", 128, 128, "M"],
}


def vgg11(**kwargs: Any) -> VGG:
    return VGG(make_layers(cfgs["A"]), **kwargs)


def vgg11_bn(**kwargs: Any) -> VGG:
    return VGG(make_layers(cfgs["A"], batch_norm=True), **kwargs)


def vgg13_bn(**kwargs: Any) -> VGG:
    return VGG(make_layers(cfgs["B"], batch_norm=True), **kwargs)


def patterns(n: int, classes: int) -> TensorDataset:
    labels = torch.arange(n) % classes
    images = torch.randn(classes, 3, 32, 32)[labels] + 0.5 * torch.randn(n, 3, 32, 32)
    return TensorDataset(images, labels)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", default="vgg11_bn", choices=["vgg11", "vgg11_bn", "vgg13_bn"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    args = parser.parse_args()

    torch.manual_seed(0)
    train_set, valid_set = random_split(patterns(10 * args.batch_size, 5), [8 * args.batch_size, 2 * args.batch_size])
    loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, num_workers=0)
    model = globals()[args.arch](num_classes=5)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4, nesterov=True)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.steps)
    print(f"{sum(p.numel() for p in model.parameters() if p.requires_grad)} parameters")

    step = 0
    while step < args.steps:
        for images, target in loader:
            output = model(images)
            loss = criterion(output, target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm=5.0)
            optimizer.step()
            scheduler.step()
            step += 1
            if step % 5 == 0 or step == args.steps:
                print(f"step {step}: loss {loss.item():.4f}, gradient norm {float(norm):.3f}")
            if step == args.steps:
                break

    model.eval()
    correct = total = 0
    with torch.no_grad():
        for images, labels in DataLoader(valid_set, batch_size=args.batch_size):
            outputs = model(images)
            _, predicted = torch.max(outputs.data, 1)
            total += labels.size(0)
            correct += (predicted == labels).sum().item()
    print(f"accuracy: {correct / total:.3f}")


if __name__ == "__main__":
    main()
