"""GANomaly: an image unlike the good ones has another latent than its reconstruction.

Akcay, Atapour-Abarghouei and Breckon, *GANomaly: Semi-Supervised Anomaly Detection via Adversarial Training*, ACCV
2018 (arXiv 1805.06725).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from differnet.data.stream import Progress
from differnet.evaluation.baselines.method import fitted
from differnet.evaluation.baselines.pixels import SmallImages, critic_loss, decoder, encoder

ADVERSARIAL, CONTEXTUAL, LATENT = 1.0, 50.0, 1.0


class _Networks(NamedTuple):
    encode: nn.Module
    decode: nn.Module
    again: nn.Module


@dataclass(kw_only=True)
class Ganomaly(SmallImages):
    """Encoder G_E, decoder G_D, a second encoder E, and a discriminator with the last feature map f.

    The generator's loss is the sum of ||f(x) - f(G(x))||^2, 50 times the mean of |x - G(x)|, and
    ||G_E(x) - E(G(x))||^2 (means over elements); the discriminator's is the cross-entropy of true and
    reconstructed images. Score: the mean of |G_E(x) - E(G(x))|, without the paper's rescaling over the test set, which
    changes no order. Adam, learning rate 2e-4, betas (0.5, 0.999). The paper: 15 epochs at 32 x 32 pixels, on many
    more images; here 64 x 64 pixels would take six times as long.
    """

    epochs: int = 40
    batch: int = 32
    width: int = 32
    latent: int = 100
    _networks: _Networks | None = field(default=None, init=False, repr=False)

    def _learn(self, images: Tensor, seed: int, progress: Progress) -> None:
        encode, again = (encoder(self.side, self.width, self.latent) for _ in range(2))
        nets = _Networks(encode, decoder(self.side, self.width, self.latent), again)
        critic = encoder(self.side, self.width, 1)
        weights = [value for network in nets for value in network.parameters()]
        descent = torch.optim.Adam(weights, lr=2e-4, betas=(0.5, 0.999))
        critics = torch.optim.Adam(critic.parameters(), lr=2e-4, betas=(0.5, 0.999))
        for batch in self._batches(images, seed, progress):
            latent = nets.encode(batch)
            rebuilt = nets.decode(latent)
            descent.zero_grad()
            _loss(critic[0], nets, batch, latent, rebuilt).backward()
            descent.step()
            critics.zero_grad()
            critic_loss(critic, batch, rebuilt.detach()).backward()
            critics.step()
        self._networks = _Networks(*(network.eval() for network in nets))

    @torch.inference_mode()
    def _score(self, image: Tensor) -> float:
        encode, decode, again = fitted(self._networks, self)
        latent = encode(image)
        return float((latent - again(decode(latent))).abs().mean())


def _loss(features: nn.Module, nets: _Networks, batch: Tensor, latent: Tensor, rebuilt: Tensor) -> Tensor:
    with torch.no_grad():
        wanted = features(batch)
    return (
        ADVERSARIAL * F.mse_loss(features(rebuilt), wanted)
        + CONTEXTUAL * F.l1_loss(rebuilt, batch)
        + LATENT * F.mse_loss(nets.again(rebuilt), latent)
    )
