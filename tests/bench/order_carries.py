"""Whether the order that a calibration gives to mixtures is that of other models: `make order-carries …`.

    python order_carries.py CALIBRATION.json LOSSES.jsonl OTHER.jsonl

LOSSES is the file of losses beside CALIBRATION. OTHER has losses of other models on the same mixtures, such as the file beside
a calibration with --proxy transformer and the same run, --seed, --tokens and targets. Mixtures are matched by their names.
Only mixtures of one size count: those of the sets `equal` and `pairs`, and the anchors, each by the mean of its seeds.

Prints Kendall's tau-b of OTHER's losses with LOSSES, with D_eff under the fitted law, and with tokens times the uncalibrated
score, each with its jackknife error, for each target and for the mean of the targets.
"""

import collections
import json
import re
import sys


def tau(a, b):
    """Kendall's tau-b."""
    agree = ties_a = ties_b = 0
    pairs = [(i, j) for i in range(len(a)) for j in range(i)]
    for i, j in pairs:
        x, y = (a[i] > a[j]) - (a[i] < a[j]), (b[i] > b[j]) - (b[i] < b[j])
        agree += x * y
        ties_a += x == 0
        ties_b += y == 0
    bottom = ((len(pairs) - ties_a) * (len(pairs) - ties_b)) ** 0.5
    return agree / bottom if bottom else None


def with_error(a, b):
    whole = tau(a, b)
    if whole is None:
        return "no order"
    n = len(a)
    left_out = [tau(a[:at] + a[at + 1 :], b[:at] + b[at + 1 :]) for at in range(n)]
    left_out = [value for value in left_out if value is not None]
    mean = sum(left_out) / len(left_out)
    error = ((n - 1) / n * sum((value - mean) ** 2 for value in left_out)) ** 0.5
    return f"{whole:.2f} ± {error:.2f}"


def read(path):
    with open(path, encoding="utf-8") as file:
        _, *lines = map(json.loads, file)
    return {line["run"]: line for line in lines if line.get("loss")}


def d_eff(calibration, target, tokens):
    """D_eff of tokens by bucket under the fitted law; arms have no q here and are in no mixture that is compared."""
    parts = collections.defaultdict(float)
    for bucket, n in tokens.items():
        bucket = calibration["buckets"][int(bucket)]
        parts[bucket["source"]] += bucket["worth"][target["name"]]["q"] * n
    rho = target["law"]["rho"]
    return sum(part**rho for part in parts.values()) ** (1 / rho)


def scored(calibration, tokens):
    return sum(calibration["buckets"][int(bucket)]["score"] * n for bucket, n in tokens.items())


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        calibration = json.load(file)
    own, other = read(sys.argv[2]), read(sys.argv[3])

    # Seeds of one anchor are one mixture.
    groups = collections.defaultdict(list)
    for name in sorted(own.keys() & other.keys()):
        kind = own[name]["set"]
        if kind in ("equal", "pairs") or kind.startswith("anchor"):
            groups[re.sub(r"_\d+$", "", name) if kind.startswith("anchor") else name].append(name)
    names = sorted(groups)
    if len(names) < 3:
        sys.exit(f"{len(names)} mixtures of one size are in both files, expected 3 or more")

    def mean(values):
        values = list(values)
        return sum(values) / len(values)

    targets = [t for t in calibration["targets"] if t["name"] in other[groups[names[0]][0]]["loss"]]
    columns = {name: [] for name in ("losses", "D_eff", "score", "other")}
    for target in targets:
        key = target["name"]
        columns["other"].append([mean(other[n]["loss"][key] for n in groups[name]) for name in names])
        columns["losses"].append([mean(own[n]["loss"][key] for n in groups[name]) for name in names])
        # A greater D_eff is a smaller loss.
        columns["D_eff"].append([-d_eff(calibration, target, own[groups[name][0]]["unique"]) for name in names])
        columns["score"].append([-scored(calibration, own[groups[name][0]]["unique"]) for name in names])
    for name, of_targets in columns.items():
        whole = of_targets
        if name == "D_eff":
            # Targets have units of their own, so each counts relative to its own mean.
            whole = [[value / -mean(values) for value in values] for values in of_targets]
        of_targets.append([mean(values) for values in zip(*whole)])

    head = [target["name"] for target in targets] + ["mean"]
    print(f"{len(names)} mixtures\n\n| predictor | " + " | ".join(head) + " |\n|---|" + "---|" * len(head))
    for label, name in (("losses of the calibration's models", "losses"), ("D_eff", "D_eff"), ("score × tokens", "score")):
        cells = [with_error(found, truth) for found, truth in zip(columns[name], columns["other"])]
        print(f"| {label} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
