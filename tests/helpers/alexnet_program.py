"""Run by test_parallel_modes.py in a separate process: five steps of a narrow AlexNet in a mode.

    python -m tests.helpers.alexnet_program MODE VARIANT PRECISION FILE [CLASS_WEIGHTS [FROZEN]]

MODE turns is owt with the batch meeting in parts; each_turn updates the dense layers after each of
them, and naive_4 does for one device what each_turn does for four, by the definition.

CLASS_WEIGHTS and FROZEN (layers) are JSON lists.

Dropout, crops and reflections are on. The parameters go to FILE, a report is printed as JSON.
"""

import json
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lenet_alexnet.data.preprocess.photos import create_photo_preprocess
from lenet_alexnet.info.collectives import collectives
from lenet_alexnet.losses import create_loss
from lenet_alexnet.models import create_model
from lenet_alexnet.optimizers.sgd2012 import SgdState, sgd2012
from lenet_alexnet.training.layout import Layout
from lenet_alexnet.training.state import Metrics, Seen, init_state
from lenet_alexnet.training.step import Moved, TrainStep, resident_steps
from lenet_alexnet.training.turn_update import TurnUpdate
from lenet_alexnet.training.update import BatchUpdate

BATCH, STEPS, STORED, CROP = 16, 5, 72, 64


def main(
    mode: str,
    variant: str,
    precision: str,
    file: str,
    weights: str = "null",
    frozen: str = "[]",
) -> None:
    """Trains, and reports what the compiled program exchanges."""
    layers = tuple(json.loads(frozen))
    model = create_model(
        name="alexnet",
        variant=variant,
        image_size=CROP,
        num_classes=8,
        dense_width=64,
        stds=(None,) * 8,
        biases=(0.1,) * 8,
        precision=precision,
        conv_form="auto",
        # Sums over devices, and convolutions of one tower instead of two, are rounded in
        # another order, and one rounding error that turns a ReLU off (seen in one unit of conv4,
        # and in one of conv2) is a change in every layer below.
        activation="tanh",
    ).clone(frozen=layers)
    turns, naive = mode in ("turns", "each_turn"), mode.startswith("naive")
    layout = Layout(
        "owt" if turns else "dp" if naive else mode,
        turns=turns,
        update_each_turn=mode == "each_turn",
        model=model,
    )
    preprocess = create_photo_preprocess(
        image_size=STORED, crop=CROP, statistics=None, mean="none", std=100.0, colour_noise=0.0
    )
    # A separate rate for the dense layers of each_turn, which their optimizer must use.
    tx, dense_tx = sgd2012(lambda _: 0.01), sgd2012(lambda _: 0.004)
    loss = create_loss(name="softmax", class_weights=json.loads(weights))

    def init(key):
        blank = jnp.zeros((1, STORED, STORED, 3), jnp.uint8)
        return init_state(model, tx, preprocess, key, blank, frozen=layers)

    key = layout.put(jax.random.key(0))
    shardings = layout.state(jax.eval_shape(init, key), tx)
    state = jax.jit(init, out_shardings=shardings)(key)
    rng = np.random.default_rng(0)
    images = layout.put(rng.integers(0, 256, (40, STORED, STORED, 3)).astype(np.uint8))
    labels = layout.put(rng.integers(0, 8, 40).astype(np.int32))
    order = rng.integers(0, 40, (STEPS, BATCH)).astype(np.int32)
    tail = (layout.put(order, layout.batches), *layout.put((np.int32(STEPS), np.True_)), key)
    update = BatchUpdate(model=model, tx=tx, loss=loss, layout=layout)
    if mode == "each_turn":
        update = TurnUpdate(model=model, tx=tx, dense_tx=dense_tx, loss=loss, layout=layout)
    if naive:
        update = naive_update(model, loss, int(mode.removeprefix("naive_")))
    step = TrainStep(update=update, preprocess=preprocess)
    program = jax.jit(partial(resident_steps, step), out_shardings=(shardings, layout.replicated))
    compiled = program.lower(state, images, labels, *tail).compile()
    before = named(state)
    state, metrics = compiled(state, images, labels, *tail)
    after = named(state)
    np.savez(file, **after)
    here = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state.params))
    report = {
        "collectives": [c._asdict() for c in collectives(compiled.as_text())],
        "param_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(state.params)),
        "param_bytes_here": here,
        "loss": float(metrics.loss),
        "errors": int(metrics.errors),
        "kept": [name for name in after if after[name].tobytes() == before[name].tobytes()],
    }
    print(json.dumps(report))


def named(state):
    """Copies of the parameters and batch statistics, by name."""
    leaves = jax.tree_util.tree_leaves_with_path((state.params, state.batch_stats))
    return {jax.tree_util.keystr(path): np.array(leaf) for path, leaf in leaves}


def naive_update(model, loss, devices):
    """Device d has the d-th block of rows; turn t takes the t-th part of every block."""
    dense = ("fc6", "fc7", "fc8")

    def update(state, x, labels, key):
        start, steps_done = state.params, state.opt_state.steps
        params, velocity, total = start, state.opt_state.velocity, None
        blocks = np.arange(len(x)).reshape(devices, devices, -1)
        seen = Metrics.zero()
        for t in range(devices):
            rows = blocks[:, t].reshape(-1)

            def mean_loss(params, rows=rows):
                variables, rngs = {"params": params}, {"dropout": key}
                logits = model.apply(variables, x[rows], position=rows, rngs=rngs)
                return loss(logits, labels[rows]).mean(), logits

            grads, logits = jax.grad(mean_loss, has_aux=True)(params)
            mean_weight = loss.mean_weight(labels)
            losses = loss(logits, labels[rows], mean_weight)
            seen = seen.add(Seen.of(losses, logits, labels[rows]))
            part = loss.mean_weight(labels[rows]) / mean_weight
            parts = jax.tree.map(lambda g, part=part: part * g, grads)
            total = parts if total is None else jax.tree.map(jnp.add, total, parts)
            for name in velocity.keys() & set(dense):
                v, w, g = velocity[name], params[name], grads[name]
                v = jax.tree.map(lambda v, w, g: 0.9 * v - 0.0005 * 0.004 * w - 0.004 * g, v, w, g)
                velocity = velocity | {name: v}
                params = params | {name: jax.tree.map(jnp.add, w, v)}
        for name in velocity.keys() - set(dense):
            v, w, g = velocity[name], start[name], total[name]
            v = jax.tree.map(
                lambda v, w, g: 0.9 * v - 0.0005 * 0.01 * w - 0.01 * g / devices, v, w, g
            )
            velocity = velocity | {name: v}
            params = params | {name: jax.tree.map(jnp.add, w, v)}
        opt_state = SgdState(steps_done + 1, velocity)
        seen = Seen(seen.loss, seen.errors, seen.top5_errors, seen.examples)
        return Moved(params, opt_state, state.batch_stats, seen)

    return update


if __name__ == "__main__":
    main(*sys.argv[1:])
