"""Values of src/statistics computed by other systems.

    python3 -m venv .venv && .venv/bin/pip install -r tests/goldens/requirements-statistics.txt
    .venv/bin/python tests/goldens/make_statistics_goldens.py > tests/goldens/statistics.json

Wilson, Clopper-Pearson, McNemar and Holm come from statsmodels; the survival curve from
lifelines; the trend test from statsmodels, and its exact form from all permutations, counted one
by one; Tango's interval from scipy, which maximises the likelihood under the constraint
numerically instead of solving the quadratic equation.
"""

import itertools
import json
import platform

import lifelines
import numpy as np
import scipy
import statsmodels
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import Table, mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint


def proportions():
    for method, name in [("wilson", "wilson"), ("beta", "clopper_pearson")]:
        for hits, of in [(0, 20), (1, 20), (7, 20), (20, 20), (3, 300), (0, 74), (45, 96)]:
            for confidence in [0.9, 0.95, 0.99]:
                low, high = proportion_confint(hits, of, 1 - confidence, method)
                yield dict(method=name, hits=hits, of=of, confidence=confidence,
                           low=float(low), high=float(high))


def pairs():
    for falls, rises in [(7, 1), (1, 7), (10, 2), (5, 5), (0, 4), (30, 11)]:
        found = mcnemar([[3, falls], [rises, 9]], exact=True)
        one_sided = stats.binomtest(falls, falls + rises, 0.5, alternative="greater")
        yield dict(falls=falls, rises=rises, one_sided=float(one_sided.pvalue),
                   two_sided=float(found.pvalue))


def adjusted():
    for raw in [[0.01, 0.04, 0.03, 0.005, 0.8], [0.5, 0.5], [1e-9, 0.2, 0.02, 0.02]]:
        yield dict(raw=raw, holm=[float(p) for p in multipletests(raw, method="holm")[1]])


def survival():
    rng = np.random.default_rng(7)
    for n in [12, 40]:
        times = rng.integers(1, 60, n)
        events = rng.random(n) < 0.6
        fitter = lifelines.KaplanMeierFitter(alpha=0.05).fit(times, events)
        curve = []
        for time in sorted(set(times[events].tolist())):
            low, high = fitter.confidence_interval_survival_function_.loc[time]
            share = float(fitter.predict(time))
            if share > 0:
                curve.append(dict(time=time, share=share, low=float(low), high=float(high)))
        yield dict(times=times.tolist(), events=events.tolist(), curve=curve)


def trends():
    for hits, of in [
        ([9, 6, 4, 2], [30, 30, 30, 30]),
        ([1, 2, 0, 5], [12, 10, 14, 9]),
        ([30, 21, 15], [100, 90, 110]),
    ]:
        hits, of = np.array(hits), np.array(of)
        table = Table(np.array([of - hits, hits]), shift_zeros=False)
        found = table.test_ordinal_association(np.array([0, 1]), np.arange(len(of)))
        yield dict(hits=hits.tolist(), of=of.tolist(), z=float(found.zscore),
                   two_sided=float(found.pvalue))


def exact_trends():
    """Blocks with one trial at each level; every way to deal out the hits of every block."""
    for blocks in [
        [[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]],
        [[1, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1], [1, 0, 0]],
    ]:
        score = lambda block: sum(at for at, hit in enumerate(block) if hit)
        seen = sum(map(score, blocks))
        ways = [[sum(c) for c in itertools.combinations(range(len(b)), sum(b))] for b in blocks]
        sums = [sum(way) for way in itertools.product(*ways)]
        yield dict(blocks=blocks, falls=sum(s <= seen for s in sums) / len(sums),
                   rises=sum(s >= seen for s in sums) / len(sums))


def score(n, new, old, difference):
    """Tango's score with the likelihood maximised numerically."""
    def negative(q):
        cells = [(new, q + difference), (old, q), (n - new - old, 1 - 2 * q - difference)]
        return -sum(k * np.log(max(p, 1e-300)) for k, p in cells if k > 0)
    low, high = max(0, -difference), (1 - difference) / 2
    best = optimize.minimize_scalar(negative, bounds=(low, high), method="bounded",
                                    options=dict(xatol=1e-12)).x
    return (new - old - n * difference) / np.sqrt(n * (2 * best + difference * (1 - difference)))


def differences():
    for n, new, old in [(44, 0, 1), (50, 12, 2), (40, 3, 9), (100, 8, 8), (96, 1, 6)]:
        for confidence in [0.9, 0.95]:
            z = stats.norm.ppf(0.5 + confidence / 2)
            middle = (new - old) / n
            low = optimize.brentq(lambda d: score(n, new, old, d) - z, -0.999, middle - 1e-9)
            high = optimize.brentq(lambda d: score(n, new, old, d) + z, middle + 1e-9, 0.999)
            yield dict(pairs=n, only_new=new, only_old=old, confidence=confidence,
                       low=float(low), high=float(high))


print(json.dumps(dict(
    versions=dict(python=platform.python_version(), scipy=scipy.__version__,
                  statsmodels=statsmodels.__version__, lifelines=lifelines.__version__,
                  numpy=np.__version__),
    proportions=list(proportions()), pairs=list(pairs()), holm=list(adjusted()),
    survival=list(survival()), trends=list(trends()), exact_trends=list(exact_trends()),
    differences=list(differences()),
), indent=1))
