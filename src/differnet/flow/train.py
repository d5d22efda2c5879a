"""Fit a flow to batches of features by maximum likelihood (eq. 4); knows no images."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam as adam_step

from differnet.config.settled import SettledTraining
from differnet.data.stream import Progress
from differnet.errors import NumericalError
from differnet.features.checkpoint import Checkpoint
from differnet.features.seeds import generator
from differnet.flow import score, tensor_file
from differnet.flow.flow import Flow
from differnet.flow.sources import Batches

_FILE = "flow{}.safetensors"  # the first has no number
_WARM_UP = 0.3
_START_DIVISOR = 25.0
_END_DIVISOR = 1e4
_CALMER = "lower learning_rate or clamp"


@dataclass(frozen=True)
class Epoch:
    """What one pass over the features, or the part of the last one that was run, gave: mean loss a feature, and the
    same on held-out features.
    """

    epoch: int
    loss: float
    held_out_loss: float | None
    seconds: float


OnEpoch = Callable[[Epoch, int], None]


def fit(
    flow: Flow,
    source: Batches,
    settings: SettledTraining,
    held_out: Tensor | None = None,
    checkpoint: Checkpoint | None = None,
    identity: str = "",
    on_epoch: OnEpoch = lambda epoch, total: None,
    noise_seed: int = 0,
    number: int = 0,
) -> list[Epoch]:
    """Fit ``flow`` in place and return one record an epoch; the last epoch is the result.

    The held-out loss is for the eye alone: it gets worse long before the AUROC does, so nothing stops on
    it. ``checkpoint``: gets a file after every epoch; when it is there, the run goes on from it and
    ends with the same numbers as an uninterrupted one. ``identity`` names the data behind ``source``. Noise is
    drawn by ``noise_seed``. ``number``: which of several flows this is, each with a file of its own. Raises
    :class:`NumericalError` when the loss is no longer finite, and :class:`ModelFileError` for a checkpoint
    of another run: other data, settings or flow.
    """
    # one kernel rounds otherwise, and the paper's flow, which starts at random, stays what it was to the bit
    optimizer = Adam(flow.parameters(), settings, fused=flow.whitening is not None)
    file = _FILE.format(number or "")
    epochs = epochs_to_run(settings, source.steps)
    # the steps are in the key, since a run whose schedule ended with an epoch cannot be gone on with
    steps = count_steps(settings, source.steps)
    key = checkpoint.key((settings, steps, repr(flow), identity)) if checkpoint else ""
    history = _resume(checkpoint, file, key, flow, optimizer) if checkpoint else []
    for epoch in range(len(history), epochs):
        started = time.perf_counter()
        loss = _pass(flow, optimizer, source, settings, epoch, noise_seed=noise_seed)
        unseen = _held_out_loss(flow, held_out)
        _check_finite(flow, unseen, epoch)
        history.append(Epoch(epoch, loss, unseen, time.perf_counter() - started))
        if checkpoint:
            _save(checkpoint, file, key, flow, optimizer, history)
        on_epoch(history[-1], epochs)
    return history


def epochs_to_run(settings: SettledTraining, steps: int) -> int:
    """Return in how many epochs of so many ``steps`` the schedule is run, as far as it is; the last may be a part.

    >>> epochs_to_run(SettledTraining(epochs=10, min_steps=300), steps=4)
    75
    """
    return math.ceil(_steps_to_run(settings, steps) / max(1, steps))


def _steps_to_run(settings: SettledTraining, steps: int) -> int:
    whole = count_steps(settings, steps)
    least = 1 if settings.length > 0 and whole > 0 else 0
    return max(least, round(settings.length * whole))


def _pass(
    flow: Flow,
    optimizer: Adam,
    source: Batches,
    settings: SettledTraining,
    epoch: int,
    *,
    noise_seed: int,
) -> float:
    """Step through the batches of one epoch, or as many as are left to run; returns their mean loss."""
    device = next(flow.parameters()).device
    total_steps = count_steps(settings, source.steps)
    first = epoch * source.steps
    count = min(source.steps, _steps_to_run(settings, source.steps) - first)
    total = torch.zeros((), device=device)
    for step, batch in enumerate(itertools.islice(source.batches(epoch), count), first):
        rate = learning_rate(settings, step, total_steps)
        draws = generator(noise_seed, "noise", step) if settings.noise else None
        total += _step(flow, optimizer, batch.to(device), rate, settings, draws)
    loss = float(total) / count
    if not math.isfinite(loss):
        raise NumericalError(
            f"the training loss became {loss} in epoch {epoch + 1}; lower learning_rate "
            f"(now {settings.learning_rate:g}) or clamp"
        )
    return loss


def count_steps(settings: SettledTraining, steps: int) -> int:
    """Return the optimisation steps of the whole schedule: those of ``epochs``, or ``min_steps`` where these are more.

    >>> count_steps(SettledTraining(epochs=1, min_steps=800), steps=292)
    800
    """
    return max(settings.epochs * steps, settings.min_steps)


def learning_rate(settings: SettledTraining, step: int, total: int) -> float:
    """Return the step's rate: constant, or one cycle of warm-up and cosine decay (no state to keep)."""
    peak = settings.learning_rate
    if settings.schedule == "constant":
        return peak
    top = max(1.0, _WARM_UP * total)
    if step < top:
        return _cosine(peak / _START_DIVISOR, peak, step / top)
    return _cosine(peak, peak / _END_DIVISOR, (step - top) / max(1.0, total - 1 - top))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def _step(
    flow: Flow,
    optimizer: Adam,
    batch: Tensor,
    rate: float,
    settings: SettledTraining,
    draws: torch.Generator | None,
) -> Tensor:
    optimizer.forget_gradients()
    u, whitening = flow.whiten(batch)
    if draws is not None:
        u = u + settings.noise * torch.randn(u.shape, generator=draws).to(u)
    z, log_det = flow.transform(u)
    loss = score.training_loss(z, whitening + log_det, flow.features)
    (loss * flow.count).backward()  # each of several flows learns as it would alone
    optimizer.step(rate)
    return loss.detach()


def _check_finite(flow: Flow, held_out_loss: float | None, epoch: int) -> None:
    """Refuse what the last step of an epoch, or an image that was held out, made of the flow."""
    if held_out_loss is not None and not math.isfinite(held_out_loss):
        raise NumericalError(
            f"the loss on held-out images became {held_out_loss} in epoch {epoch + 1}; {_CALMER}"
        )
    for name, value in flow.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise NumericalError(
                f"{name} of the flow has NaN or infinite numbers after epoch {epoch + 1}; {_CALMER}"
            )


class Adam:
    """Adam (Kingma and Ba, ICLR 2015) by PyTorch's function for a step, with the numbers of ``torch.optim.Adam``.

    To make a ``torch.optim.Adam`` imports PyTorch's compiler, which takes a second and 160 MB. ``fused``: in one
    kernel, which rounds otherwise.
    """

    def __init__(self, parameters: Iterable[Tensor], settings: SettledTraining, fused: bool) -> None:
        self._parameters = list(parameters)
        self._settings = settings
        self._fused = fused
        self._means = [torch.zeros_like(one) for one in self._parameters]
        self._squares = [torch.zeros_like(one) for one in self._parameters]
        self._steps = [
            torch.zeros((), dtype=torch.float32, device=one.device if fused else "cpu")
            for one in self._parameters
        ]

    def forget_gradients(self) -> None:
        """Have the next backward pass begin from none."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Change all parameters that have a gradient, at this learning rate."""
        with_gradient = [at for at, one in enumerate(self._parameters) if one.grad is not None]
        first, second = self._settings.betas
        adam_step(
            [self._parameters[at] for at in with_gradient],
            [one.grad for one in self._parameters if one.grad is not None],
            [self._means[at] for at in with_gradient],
            [self._squares[at] for at in with_gradient],
            [],
            [self._steps[at] for at in with_gradient],
            fused=self._fused,
            amsgrad=False,
            beta1=first,
            beta2=second,
            lr=rate,
            weight_decay=self._settings.weight_decay,
            eps=self._settings.eps,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """Return all that steps depend on beside the parameters, by names such as ``3.exp_avg``."""
        kinds = {"step": self._steps, "exp_avg": self._means, "exp_avg_sq": self._squares}
        return {f"{at}.{kind}": value for kind, values in kinds.items() for at, value in enumerate(values)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a :meth:`state`; raises :class:`KeyError` or :class:`ValueError` for that of other parameters."""
        for name, value in self.state().items():
            if state[name].shape != value.shape:
                raise ValueError(f"{name} of {tuple(state[name].shape)}, {tuple(value.shape)} wanted")
            value.copy_(state[name])


@torch.inference_mode()
def _held_out_loss(flow: Flow, held_out: Tensor | None) -> float | None:
    if held_out is None or len(held_out) == 0:
        return None
    device = next(flow.parameters()).device
    z, log_det = flow(held_out.to(device))
    return float(score.training_loss(z, log_det, flow.features))


def _save(
    checkpoint: Checkpoint,
    file: str,
    key: str,
    flow: Flow,
    optimizer: Adam,
    history: list[Epoch],
) -> None:
    tensors = {f"flow.{name}": value for name, value in flow.state_dict().items()}
    tensors |= {f"adam.{name}": value for name, value in optimizer.state().items()}
    header = {"kind": "checkpoint", "key": key, "history": [asdict(epoch) for epoch in history]}
    tensor_file.write_tensors(checkpoint.folder / file, tensors, header)


def _resume(checkpoint: Checkpoint, name: str, key: str, flow: Flow, optimizer: Adam) -> list[Epoch]:
    if not checkpoint.has(name):
        return []
    with checkpoint.reading(name) as file:
        header, tensors = tensor_file.read_tensors(file)
        checkpoint.check(header.get("key"), key)
        history = [Epoch(**epoch) for epoch in header["history"]]
        flow.load_state_dict(_of_kind("flow.", tensors))
        optimizer.load(_of_kind("adam.", tensors))
    return history


def _of_kind(kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(kind): value for name, value in tensors.items() if name.startswith(kind)}


def by_epoch(progress: Progress) -> OnEpoch:
    """Return what tells ``progress`` of every epoch, however many flows learn at a time."""
    done: set[int] = set()

    def tell(epoch: Epoch, total: int) -> None:
        done.add(epoch.epoch)
        first = min(done)  # those before it were there when a broken-off fit went on
        progress("fitting the flow", first + len(done), total)

    return tell
