#!/usr/bin/env python3
"""LightGBM on the mixtures of a calibration, beside the fitted laws: the regression that RegMix and CLIMB use.

    pip install -r tests/bench/requirements-calibrate.txt
    python3 tests/bench/lightgbm_peer.py calibration.json.losses.jsonl calibration.json

LOSSES is the file that `curate calibrate -o calibration.json` keeps beside its result, CALIBRATION is that result. For each
target, gradient-boosted trees are fitted to the `fit` runs, with the share of each bucket and ln D as features and the
loss as label. The held-out runs judge the trees as `curate calibrate` judges its laws:

    error    mean absolute error over all held-out runs, in bits per byte
    ratio    the error, relative to that of equal worth (D' with every q = 1)
    tau      Kendall's tau-b on the set `equal`
    iso-R2   R2 on `interpolation` and `equal`, once a quadratic in ln D is taken out of both sides

The settings:

    regmix     those of sail-sg/regmix, regression_fitting/regression.ipynb: objective regression, 1,000 trees of learning
               rate 0.01, stopped after 3 rounds without gain, all else LightGBM's defaults (31 leaves, 20 runs a leaf)
    shallow    small trees for few runs, in the spirit of CLIMB: depth 4, 5 runs a leaf, L2 of 1, learning rate 0.02, stopped
               after 50 rounds
    searched   the best of 36 settings by cross-validation: 4, 8 or 16 leaves, 3, 5 or 10 runs a leaf, features of a tree
               all or half, L2 of 0 or 1, learning rate 0.03, stopped after 50 rounds
    residual   `searched` on what the law of equal worth leaves, so that trees need not extrapolate in D

RegMix stops on its validation runs. Here the held-out runs have no say: the number of trees is the best one in the sum over
5 folds of the `fit` runs (run r in fold r mod 5), and the trees are then fitted to all of them. Each prediction is the mean
of --seeds fits with other seeds. The rows of the laws are from CALIBRATION, which has tau and iso-R2 for the chosen one.
"""

import argparse
import itertools
import json
import sys

import lightgbm
import numpy as np

FOLDS = 5
BASE = dict(objective="regression", metric="l2", verbosity=-1, num_threads=1, deterministic=True, force_row_wise=True)
REGMIX = dict(rounds=1000, patience=3, learning_rate=0.01)
SHALLOW = dict(rounds=3000, patience=50, learning_rate=0.02, max_depth=4, num_leaves=15, min_data_in_leaf=5, lambda_l2=1.0)
SEARCHED = [
    dict(
        rounds=3000, patience=50, learning_rate=0.03, num_leaves=leaves, min_data_in_leaf=least, feature_fraction=features,
        lambda_l2=l2,
    )
    for leaves, least, features, l2 in itertools.product((4, 8, 16), (3, 5, 10), (1.0, 0.5), (0.0, 1.0))
]  # fmt: skip
HELD_OUT = ("interpolation", "equal", "extrapolation", "pairs")


def read_runs(path):
    """The number of buckets, and the lines that have a loss."""
    with open(path, encoding="utf-8") as file:
        header, *lines = map(json.loads, file)
    return len(header["buckets"]), [line for line in lines if line.get("loss")]


def features(lines, buckets):
    """The share of each bucket, and ln D."""
    tokens = np.zeros((len(lines), buckets))
    for row, line in zip(tokens, lines):
        for bucket, unique in line["unique"].items():
            row[int(bucket)] = unique
    total = tokens.sum(axis=1, keepdims=True)
    return np.hstack([tokens / total, np.log(total)])


def parameters(setting, seed):
    return BASE | {key: value for key, value in setting.items() if key not in ("rounds", "patience")} | {"seed": seed}


def cross_validated(x, y, setting):
    """The number of trees that is best over the folds, and the root of its mean squared error."""
    curves = []
    for fold in range(FOLDS):
        inside = np.arange(len(y)) % FOLDS == fold
        train = lightgbm.Dataset(x[~inside], y[~inside], params={"min_data_in_leaf": setting.get("min_data_in_leaf", 20)})
        curve = {}
        lightgbm.train(
            parameters(setting, 1), train, setting["rounds"], valid_sets=[train.create_valid(x[inside], y[inside])],
            callbacks=[lightgbm.record_evaluation(curve), lightgbm.early_stopping(setting["patience"], verbose=False)],
        )  # fmt: skip
        curves.append(np.array(curve["valid_0"]["l2"]))
    # A fold that stopped early keeps its last error.
    length = max(map(len, curves))
    mean = np.mean([np.pad(curve, (0, length - len(curve)), mode="edge") for curve in curves], axis=0)
    return int(mean.argmin()) + 1, float(np.sqrt(mean.min()))


def boosted(x, y, test, settings, seeds):
    """Predictions of the best of the settings, and that setting with its number of trees."""
    tried = [(cross_validated(x, y, setting), setting) for setting in settings]
    (trees, _), best = min(tried, key=lambda found: found[0][1])
    fits = [lightgbm.train(parameters(best, seed), lightgbm.Dataset(x, y), trees) for seed in range(1, seeds + 1)]
    return np.mean([fit.predict(test) for fit in fits], axis=0), best | {"trees": trees}


def equal_worth(ln_d, y):
    """E + a D^-beta by least squares, as a function of ln D; beta from a grid."""
    best = None
    for beta in np.linspace(0.02, 1.5, 149):
        columns = np.stack([np.ones_like(y), np.exp(-beta * (ln_d - ln_d.mean()))], axis=1)
        solved, *_ = np.linalg.lstsq(columns, y, rcond=None)
        error = np.square(columns @ solved - y).sum()
        if best is None or error < best[0]:
            best = error, beta, solved
    _, beta, (floor, scale) = best
    centre = ln_d.mean()
    return lambda ln_d: floor + scale * np.exp(-beta * (ln_d - centre))


def kendall(a, b):
    """tau-b; None if one side has a single value."""
    i, j = np.triu_indices(len(a), 1)
    left, right = np.sign(a[i] - a[j]), np.sign(b[i] - b[j])
    norm = np.sqrt(np.abs(left).sum() * np.abs(right).sum())
    return float((left * right).sum() / norm) if norm > 0 else None


def iso_r2(ln_d, found, loss):
    """None with fewer than four runs."""
    if len(loss) < 4:
        return None
    centred = ln_d - ln_d.mean()
    columns = np.stack([np.ones_like(centred), centred, centred**2], axis=1)

    def rest(values):
        return values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]

    left = rest(loss)
    return float(1 - np.square(left - rest(found)).sum() / np.square(left).sum())


def scores(found, loss, ln_d, sets):
    equal, both = sets == "equal", np.isin(sets, ("interpolation", "equal"))
    return dict(
        error=float(np.abs(found - loss).mean()),
        tau=kendall(found[equal], loss[equal]),
        iso_r2=iso_r2(ln_d[both], found[both], loss[both]),
        by_set={name: float(np.abs(found - loss)[sets == name].mean()) for name in HELD_OUT if (sets == name).any()},
    )


def peers(buckets, lines, target, seeds):
    """The scores of each setting on one target."""
    lines = [line for line in lines if target in line["loss"]]
    fit = [line for line in lines if line["set"] == "fit"]
    held_out = [line for line in lines if line["set"] in HELD_OUT]
    x, test = features(fit, buckets), features(held_out, buckets)
    y, loss = (np.array([line["loss"][target] for line in part]) for part in (fit, held_out))
    sets = np.array([line["set"] for line in held_out])

    law = equal_worth(x[:, -1], y)
    settings = {"regmix": [REGMIX], "shallow": [SHALLOW], "searched": SEARCHED, "residual": SEARCHED}
    results = {}
    for name, tried in settings.items():
        base, over = (law(x[:, -1]), law(test[:, -1])) if name == "residual" else (0, 0)
        found, best = boosted(x, y - base, test, tried, seeds)
        results[name] = scores(found + over, loss, test[:, -1], sets), best
    return results


def cell(value):
    return "" if value is None else f"{value:.2f}"


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("losses")
    args.add_argument("calibration")
    args.add_argument("--seeds", type=int, default=5)
    args = args.parse_args()
    buckets, lines = read_runs(args.losses)
    with open(args.calibration, encoding="utf-8") as file:
        calibration = json.load(file)

    print("| target | fitted | error | ratio | τ | iso-R² |" + "".join(f" {name} |" for name in HELD_OUT))
    print("|---|---|---" + "|---" * (3 + len(HELD_OUT)) + "|")
    chosen_settings = []
    for target in calibration["targets"]:
        name, judged, law = target["name"], target["held_out"], target["law"]["name"]
        base = judged["error_of_equal_worth"]
        blank = " |" * len(HELD_OUT)
        print(f"| {name} | equal worth | {base:.4f} | 1.00 | | |{blank}")
        print(f"| | uncalibrated q | {judged['error_of_score']:.4f} | {judged['error_of_score'] / base:.2f} | | |{blank}")
        for other, error in judged["others"].items():
            own = other == law
            label = f"**{other}**" if own else other
            tau, r2 = (judged["tau"], judged["iso_r2"]) if own else (None, None)
            print(f"| | {label} | {error:.4f} | {error / base:.2f} | {cell(tau)} | {cell(r2)} |{blank}")
        for peer, (found, best) in peers(buckets, lines, name, args.seeds).items():
            sets = "".join(f" {error:.4f} |" if error else " |" for error in map(found["by_set"].get, HELD_OUT))
            print(
                f"| | LightGBM {peer} | {found['error']:.4f} | {found['error'] / base:.2f} | {cell(found['tau'])} | "
                f"{cell(found['iso_r2'])} |{sets}",
                flush=True,
            )
            shown = ", ".join(f"{key} {value}" for key, value in best.items())
            chosen_settings.append(f"- {name}, {peer}: {shown}")
    print("\n**Bold**: the chosen law. Settings and trees by cross-validation:\n")
    print("\n".join(chosen_settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
