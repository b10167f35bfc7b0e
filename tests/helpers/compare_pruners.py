"""Successive halving here and Optuna's pruners, on the same learning curves of 27 settings:

python tests/helpers/compare_pruners.py

All settings train side by side, as lanes do, and are judged after each epoch. Printed are means
over 40 sets of curves; docs/sweeps.md quotes them.
"""

import math
import random
import statistics

import optuna

SETTINGS, ETA, EPOCHS, SETS = 27, 3, 27, 40
RUNGS = (1, 3, 9)


def draw(generator):
    """Curves that fall exponentially, each to a level and at a rate of its own, with noise."""
    curves = []
    for _ in range(SETTINGS):
        level, rate = generator.uniform(0.01, 0.1), generator.uniform(0.1, 0.6)
        noise = [generator.gauss(0, 0.002) for _ in range(EPOCHS)]
        curves.append([level + 0.8 * math.exp(-rate * (i + 1)) + noise[i] for i in range(EPOCHS)])
    return curves


def halving(curves, order):
    """The settings kept at each rung, and the epochs trained in all."""
    kept, alive, cost, before = [], order, 0, 0
    for i, rung in enumerate(RUNGS, 1):
        cost += len(alive) * (rung - before)
        best = sorted(alive, key=lambda setting: curves[setting][rung - 1])
        alive, before = best[: math.ceil(SETTINGS / ETA**i)], rung
        kept.append(set(alive))
    return kept, cost + len(alive) * (EPOCHS - before)


def by_optuna(pruner, curves, order):
    """The same, with each setting asking the pruner after each epoch, in this order."""
    study = optuna.create_study(study_name="sweep", pruner=pruner)
    trials = {setting: study.ask() for setting in order}
    alive, kept, cost = list(order), {}, 0
    for epoch in range(1, EPOCHS + 1):
        cost += len(alive)
        for setting in tuple(alive):
            trials[setting].report(curves[setting][epoch - 1], epoch)
            if trials[setting].should_prune():
                alive.remove(setting)
        kept[epoch] = set(alive)
    return [kept[rung] for rung in RUNGS], cost


def main():
    """Prints a line for each way of pruning."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    generator = random.Random(0)
    prune = optuna.pruners
    ways = {
        "halving here": halving,
        "SuccessiveHalving": lambda *a: by_optuna(prune.SuccessiveHalvingPruner(1, ETA), *a),
        "Hyperband": lambda *a: by_optuna(prune.HyperbandPruner(1, EPOCHS, ETA), *a),
        "Median": lambda *a: by_optuna(prune.MedianPruner(n_startup_trials=0), *a),
    }
    found = {name: [] for name in ways}
    for _ in range(SETS):
        curves, order = draw(generator), list(range(SETTINGS))
        other = generator.sample(order, SETTINGS)
        ours, _ = halving(curves, order)
        for name, way in ways.items():
            kept, cost = way(curves, order)
            sizes = [len(settings) for settings in kept]
            found[name].append((*sizes, cost, kept == ours, kept == way(curves, other)[0]))
    for name, rows in found.items():
        *sizes, cost, same, stable = map(statistics.fmean, zip(*rows, strict=True))
        kept = " ".join(f"{size:.1f}" for size in sizes)
        print(
            f"{name:<18} keeps {kept} of {SETTINGS}, trains {cost:.0f} epochs; the settings of "
            f"halving in {100 * same:.0f} %, the same in another order in {100 * stable:.0f} %"
        )


if __name__ == "__main__":
    main()
