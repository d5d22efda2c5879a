"""The only place where a likelihood or a score is written down (eq. 4 and 5 of the paper).

Constants that are the same for every image are left out, as the paper does in eq. 4: with D features,
-log p_Z(z) = ||z||^2 / 2 + (D / 2) log(2 pi).
"""

from __future__ import annotations

from torch import Tensor


def latent_norm(z: Tensor) -> Tensor:
    """-log p_Z(z) without its constant: ||z||^2 / 2, from (..., D) to (...).

    This alone scores a view (eq. 5); the log-determinant does not enter.
    """
    return 0.5 * z.square().sum(dim=-1)


def negative_log_likelihood(z: Tensor, log_det: Tensor) -> Tensor:
    """L(y) = ||z||^2 / 2 - log |det dz/dy| (eq. 4), from (B, D) and (B,) to (B,)."""
    return latent_norm(z) - log_det


def training_loss(z: Tensor, log_det: Tensor, features: int) -> Tensor:
    """The mean of eq. 4 over a batch, divided by the number of ``features``, as the authors do: a scalar."""
    return negative_log_likelihood(z, log_det).mean() / features


def image_score(z: Tensor) -> Tensor:
    """tau(x) = mean over views of -log p_Z(z_i) (eq. 5): latents (..., V, D) to scores (...)."""
    return latent_norm(z).mean(dim=-1)
