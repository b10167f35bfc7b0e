"""Run by test_parallel.py in a process of its own: five steps of a narrow AlexNet in a mode.

    python -m tests.alexnet_program MODE VARIANT PRECISION FILE

MODE turns is owt with the batch meeting in parts.

Dropout, crops and reflections are on. The parameters go to FILE, a report is printed as JSON.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from lenet_alexnet import step as steps
from lenet_alexnet.collectives import collectives
from lenet_alexnet.data.crops import create_photo_preprocess
from lenet_alexnet.losses import create_loss
from lenet_alexnet.models import create_model
from lenet_alexnet.optimizers.sgd2012 import sgd2012
from lenet_alexnet.parallel import Layout
from lenet_alexnet.state import init_state
from tests.conftest import ROOT

BATCH, STEPS, STORED, CROP = 16, 5, 72, 64


def main(mode: str, variant: str, precision: str, file: str) -> None:
    """Trains, and reports what the compiled program exchanges."""
    jax.config.update("jax_compilation_cache_dir", str(ROOT / ".pytest_cache" / "xla"))
    model = create_model(
        name="alexnet", variant=variant, image_size=CROP, num_classes=8, dense_width=64,
        stds=(None,) * 8, biases=(0.1,) * 8, precision=precision,
    )  # fmt: skip
    turns = mode == "turns"
    layout = Layout("owt" if turns else mode, turns=turns, model=model)
    preprocess = create_photo_preprocess(
        image_size=STORED, crop=CROP, statistics=None, mean="none", std=100.0, colour_noise=0.0
    )
    tx = sgd2012(lambda _: 0.01)

    def init(key):
        blank = jnp.zeros((1, STORED, STORED, 3), jnp.uint8)
        return init_state(model, tx, preprocess, key, blank)

    key = layout.put(jax.random.key(0))
    shardings = layout.state(jax.eval_shape(init, key), tx)
    state = jax.jit(init, out_shardings=shardings)(key)
    rng = np.random.default_rng(0)
    images = layout.put(rng.integers(0, 256, (40, STORED, STORED, 3)).astype(np.uint8))
    labels = layout.put(rng.integers(0, 8, 40).astype(np.int32))
    order = rng.integers(0, 40, (STEPS, BATCH)).astype(np.int32)
    tail = (layout.put(order, layout.batches), *layout.put((np.int32(STEPS), np.True_)), key)
    step = steps.make_train_step(
        model, tx, create_loss(name="softmax"), preprocess, forward_train=layout.forward_train
    )
    program = jax.jit(steps.make_train_steps(step), out_shardings=(shardings, layout.replicated))
    compiled = program.lower(state, images, labels, *tail).compile()
    state, _ = compiled(state, images, labels, *tail)
    leaves = jax.tree_util.tree_leaves_with_path((state.params, state.batch_stats))
    np.savez(file, **{jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves})
    here = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state.params))
    report = {
        "collectives": [c._asdict() for c in collectives(compiled.as_text())],
        "param_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(state.params)),
        "param_bytes_here": here,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
