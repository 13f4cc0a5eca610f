"""A Wasserstein GAN whose critic has a gradient penalty: a gradient of the norm of a gradient.

Only the import lines are not PyTorch's. The real points lie on a circle.
Source: Gulrajani et al., Improved training of Wasserstein GANs (2017), algorithm 1.

    python examples/pytorch_style/wgan_gp.py --iterations 100
"""

import argparse
import math

import tinygrad_cnn as torch
from tinygrad_cnn import autograd, nn, optim
from tinygrad_cnn.nn import functional as F

LAMBDA = 1.0
CRITIC_ITERS = 5


class Generator(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(2, width), nn.ReLU(True), nn.Linear(width, width), nn.ReLU(True), nn.Linear(width, 2)
        )

    def forward(self, noise):
        return self.main(noise)


class Critic(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(2, width)
        self.fc2 = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)

    def forward(self, inputs):
        h = F.leaky_relu(self.fc1(inputs), 0.2)
        h = F.leaky_relu(self.fc2(h), 0.2)
        return self.out(h).view(-1)


def circle(n: int, radius: float = 2.0):
    angle = torch.rand(n, 1) * (2 * math.pi)
    return radius * torch.cat([torch.cos(angle), torch.sin(angle)], dim=1) + 0.02 * torch.randn(n, 2)


def calc_gradient_penalty(critic, real_data, fake_data):
    alpha = torch.rand(real_data.size(0), 1)
    alpha = alpha.expand(real_data.size())
    interpolates = alpha * real_data + ((1 - alpha) * fake_data)
    interpolates.requires_grad_(True)
    disc_interpolates = critic(interpolates)
    gradients = autograd.grad(
        outputs=disc_interpolates,
        inputs=interpolates,
        grad_outputs=torch.ones(disc_interpolates.size()),
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
    )[0]
    return ((gradients.norm(2, dim=1) - 1) ** 2).mean() * LAMBDA


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    args = parser.parse_args()

    torch.manual_seed(1)
    netG, netD = Generator(args.width), Critic(args.width)
    optimizerD = optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.9))
    optimizerG = optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.9))
    noise = torch.zeros(args.batch_size, 2)

    for iteration in range(args.iterations):
        for p in netD.parameters():  # they are set to False below in the update of the generator
            p.requires_grad = True
        for _ in range(CRITIC_ITERS):
            real = circle(args.batch_size)
            netD.zero_grad()
            with torch.no_grad():
                fake = netG(noise.normal_())
            penalty = calc_gradient_penalty(netD, real, fake)
            D_cost = netD(fake).mean() - netD(real).mean() + penalty
            D_cost.backward()
            optimizerD.step()

        for p in netD.parameters():
            p.requires_grad = False
        netG.zero_grad()
        G_cost = -netD(netG(noise.normal_())).mean()
        G_cost.backward()
        optimizerG.step()
        if (iteration + 1) % 50 == 0 or iteration + 1 == args.iterations:
            print(
                f"{iteration + 1}: critic {D_cost.item():.4f} (penalty {penalty.item():.4f}), "
                f"generator {G_cost.item():.4f}"
            )

    with torch.no_grad():
        radius = netG(torch.randn(1000, 2)).norm(dim=1)
    print(f"radius of the generated points: {radius.mean().item():.3f} +- {radius.std().item():.3f} (real: 2.000)")


if __name__ == "__main__":
    main()
