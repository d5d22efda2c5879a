"""The readings of frozen flows as two OpenVINO graphs, which take a third of PyTorch's time on a CPU.

Flows of parts are small matrix products of some fifty rows, between which PyTorch spends more time than in them. The
graphs are put together from the tensors of the flows, operation by operation, since to trace and convert them takes ten
times as long. Readings differ from those of :class:`differnet.flow.fusion.Fusion` by rounding in 32 bits.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from differnet.errors import NumericalError
from differnet.features.backbone.row_runtime import Numbers, Outputs, RowRuntime, model_of, operations
from differnet.features.backbone.torch_runtime import Runtime
from differnet.features.pooling import RowReading
from differnet.flow import neighbours
from differnet.flow.flow import CouplingBlock, Flow, Permutation, Subnet, Whitening
from differnet.flow.fusion import Fusion, Reads
from differnet.flow.neighbours import Neighbours

# Numbers in flows and kept parts: larger ones wait for memory, and many views at once suit them.
_LARGEST = 2**23
_AGREEMENT = 1e-2  # of a reading; deep flows enlarge rounding, up to 6e-4 in eight blocks of random weights
_COMPARED = 1e30  # readings up to here: squares of 32 bits end at 3e38
_made: WeakKeyDictionary[Fusion, FusionGraph] = WeakKeyDictionary()
_MAKING = threading.Lock()


def fastest(fusion: Fusion, runtime: Runtime, device: str) -> Reads:
    """Return what gives the readings of frozen flows soonest: their graphs where the backbone runs in OpenVINO.

    Large flows stay in PyTorch. The same graphs come back for the same flows.
    """
    if runtime.name != "openvino" or device != "cpu":
        return fusion
    with _MAKING:
        known = _made.get(fusion)
        if known is not None and known.runtime.is_of_this_process:
            return known
        if sum(one.numel() for one in (*fusion.parameters(), *fusion.buffers())) > _LARGEST:
            return fusion
        if known is not None:
            known.runtime.keep_lost()
        _made[fusion] = FusionGraph(fusion)
        return _made[fusion]


class FusionGraph:
    """Frozen flows on the CPU: features (V, W) to the readings (T, V, R) of each tile of each view.

    Those of a view are the same to the bit whatever comes with it (:class:`RowRuntime`). The first ones are compared
    with PyTorch's.
    """

    def __init__(self, fusion: Fusion) -> None:
        groups = _halves(fusion)
        self.runtime = RowRuntime([_model_of(fusion, numbers) for numbers in groups])
        self._order = _order(fusion, groups)
        self._fusion = weakref.ref(fusion)  # graphs are kept by their flows, and would keep these
        self._agrees = False
        self._comparing = threading.Lock()

    def __call__(self, features: Tensor) -> Tensor:
        """Return the readings in 64 bits; not finite where a latent is not, or the square of one in 32 bits.

        Raises :class:`ShapeError` for features of other flows, and :class:`NumericalError` where PyTorch makes
        something else of the first ones.
        """
        each = [_readings(outputs, self._order) for outputs in self.runtime.run(features.numpy())]
        found = torch.from_numpy(np.stack(each, axis=1).astype(np.float64))
        if not self._agrees:
            with self._comparing:
                self._agrees = self._agrees or self._compare(features, found)
        return found

    def _compare(self, features: Tensor, found: Tensor) -> bool:
        """Return whether there was something to compare, and it agreed; raises :class:`NumericalError`."""
        fusion = self._fusion()
        if fusion is None:
            return True
        wanted = fusion(features)
        known = wanted.isfinite() & (wanted < _COMPARED)
        if not bool(known.any()):
            return False
        apart = float(
            ((found - wanted).abs() / wanted.abs().clamp_min(1e-6))[known].nan_to_num(math.inf).max()
        )
        if apart > _AGREEMENT:
            raise NumericalError(
                f"the flows in OpenVINO give readings that differ by {apart:.1e} from those of PyTorch; fit with "
                "runtime = 'torch'"
            )
        return True


def _readings(outputs: Outputs, order: Sequence[int]) -> Numbers:
    """Return the readings (T, R), all not a number where a latent is: a maximum may pass over it."""
    readings = np.concatenate(outputs[::2], axis=1)[:, order]
    is_finite = all(np.isfinite(total).all() for total in outputs[1::2])
    return readings if is_finite else np.full_like(readings, np.nan)


def _halves(fusion: Fusion) -> list[list[int]]:
    """Deal the flows, by their numbers, to two graphs that take about as long, or to one where it is a single flow."""
    halves: list[list[int]] = [[], []]
    totals = [0, 0]
    works = [
        len(read.columns) * sum(one.numel() for one in flow.state_dict().values())
        for flow, read in fusion.parts
    ]
    for number in sorted(range(len(works)), key=lambda one: -works[one]):
        lighter = int(totals[1] < totals[0])
        halves[lighter].append(number)
        totals[lighter] += works[number]
    return [half for half in halves if half]


def _order(fusion: Fusion, groups: Sequence[Sequence[int]]) -> list[int]:
    """Return where each reading of all flows stands among those of one graph after the other."""

    def names(numbers: Sequence[int]) -> list[tuple[str, int]]:
        near = [("distance", number) for number in numbers if fusion.near[number] is not None]
        return [("norm", number) for number in numbers] + near

    given = [name for numbers in groups for name in names(numbers)]
    return [given.index(name) for name in names(range(len(fusion.reads)))]


def _model_of(fusion: Fusion, numbers: Sequence[int]) -> Any:
    """Return an ``openvino.Model`` of one view and of the flows of these ``numbers``.

    It maps features (1, W) to readings (T, R), norms before distances, and to the sum of all norms.
    """
    write = _Writer()
    features = write.op.parameter([1, fusion.reads[0].width], np.float32)
    norms, distances, sums = [], [], []
    for number in numbers:
        (flow, read), near = fusion.parts[number], fusion.near[number]
        z = write.latents(write.rows(features, read), flow)
        found = write.by_tile(write.latent_norm(z), read)
        sums.append(write.total(found))
        norms.append(write.pooled(found, read))
        if near is not None:
            distances.append(write.distances(z, found, near, read))
    readings = write.op.concat([*norms, *distances], 1)
    total = write.total(write.op.concat(sums, 0))
    return model_of([readings, total], features)


class _Writer:
    """Writes what PyTorch computes in the operations of OpenVINO; each method is named for what it writes.

    Latents are of one view, (T * P, D).
    """

    def __init__(self) -> None:
        self.op = operations()

    def rows(self, features: Any, read: RowReading) -> Any:
        """Write :meth:`RowReading.rows`."""
        columns = read.columns.flatten().numpy()
        taken = self.op.gather(features, self._numbers(columns), self._numbers([1]))
        return self._shaped(taken, -1, read.features)

    def latents(self, y: Any, flow: Flow) -> Any:
        """Write the latents of a flow, as :meth:`Flow.forward` puts them together."""
        u = y if flow.whitening is None else self._whitened(y, flow.whitening)
        found = [self._through(u, list(chain.children()), flow.features) for chain in flow.chains]
        if len(found) == 1:
            return found[0]
        return self.op.multiply(self.op.concat(found, 1), np.float32(1 / math.sqrt(len(found))))

    def latent_norm(self, z: Any) -> Any:
        """Write :func:`differnet.flow.score.latent_norm`."""
        squares = self.op.reduce_sum(self.op.multiply(z, z), self._numbers([-1]), keep_dims=False)
        return self.op.multiply(squares, np.float32(0.5))

    def by_tile(self, norms: Any, read: RowReading) -> Any:
        """Write norms (T * P,) as (T, P)."""
        return self._shaped(norms, read.tiles, -1)

    def pooled(self, norms: Any, read: RowReading) -> Any:
        """Write :meth:`RowReading.of_tiles` as (T, 1)."""
        reduce = self.op.reduce_max if read.pooling == "largest" else self.op.reduce_mean
        return reduce(norms, self._numbers([1]), keep_dims=True)

    def total(self, values: Any) -> Any:
        """Write the sum of all values (1,), which is not finite where one is not."""
        return self.op.reduce_sum(self._shaped(values, -1), self._numbers([0]), keep_dims=True)

    def distances(self, z: Any, norms: Any, near: Neighbours, read: RowReading) -> Any:
        """Write :meth:`Neighbours.forward` as (T, 1)."""
        places, width = len(read.columns) // read.tiles, near.kept.shape[1]
        count = min(neighbours.FEW, places)
        largest = self.op.topk(norms, self._numbers(count), 1, "max", "value", index_element_type="i64")
        # by rows, tile after tile: OpenVINO 2026.4 gathers within tiles from addresses that are none
        starts = self._numbers(places * np.arange(read.tiles)[:, None])
        rows = self._shaped(self.op.add(largest.output(1), starts), -1)
        few = self._shaped(self.op.gather(z, rows, self._numbers([0])), read.tiles, count, width)
        kept = self._constant(near.kept)
        products = self._product(few, kept, is_transposed=True)
        closeness = self.op.subtract(products, self._constant(near.halves))
        nearest = self.op.topk(closeness, self._numbers(1), 2, "max", "value", index_element_type="i64")
        chosen = self._shaped(nearest.output(1), -1)
        closest = self._shaped(self.op.gather(kept, chosen, self._numbers([0])), read.tiles, count, width)
        apart = self.latent_norm(self.op.subtract(few, closest))
        weighted = self.op.multiply(self.op.softmax(largest.output(0), 1), apart)
        distance = self.op.reduce_sum(weighted, self._numbers([1]), keep_dims=True)
        return self.op.add(distance, np.float32(near.noise))

    def _whitened(self, y: Any, whitening: Whitening) -> Any:
        centred = self.op.subtract(y, self._constant(whitening.mean))
        return self._product(centred, self._constant(whitening.matrix), is_transposed=False)

    def _through(self, u: Any, steps: Sequence[nn.Module], features: int) -> Any:
        for step in steps:
            if isinstance(step, Permutation):
                u = self.op.gather(u, self._numbers(step.order.numpy()), self._numbers([1]))
            elif isinstance(step, CouplingBlock):
                u = self._coupled(u, step, features)
        return u

    def _coupled(self, x: Any, block: CouplingBlock, features: int) -> Any:
        lengths = [block.first, features - block.first]
        in1, in2 = self.op.variadic_split(x, 1, self._numbers(lengths)).outputs()
        out2 = self._affine(in1, in2, block.subnet1)
        out1 = self._affine(out2, in1, block.subnet2)
        return self.op.concat([out1, out2], 1)

    def _affine(self, given: Any, changed: Any, net: Subnet) -> Any:
        x = given
        for layer in net.layers:
            if isinstance(layer, nn.Linear):
                product = self._product(x, self._constant(layer.weight), is_transposed=True)
                x = self.op.add(product, self._constant(layer.bias))
            else:
                x = self.op.relu(x)
        h, shift = self.op.split(x, 1, 2).outputs()
        soft = self.op.atan(self.op.multiply(h, np.float32(1 / net.clamp)))
        scale = self.op.exp(self.op.multiply(soft, np.float32(2 * net.clamp / math.pi)))
        return self.op.add(self.op.multiply(changed, scale), shift)

    def _shaped(self, values: Any, *shape: int) -> Any:
        return self.op.reshape(values, self._numbers(shape), special_zero=False)

    def _product(self, x: Any, matrix: Any, is_transposed: bool) -> Any:
        return self.op.matmul(x, matrix, transpose_a=False, transpose_b=is_transposed)

    def _constant(self, values: Tensor) -> Any:
        return self.op.constant(values.detach().numpy())

    def _numbers(self, values: Any) -> Any:
        return self.op.constant(np.asarray(values, dtype=np.int64))
