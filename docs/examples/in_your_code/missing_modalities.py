r"""
A sensor that fails
===================

A model that always saw audio and motion together learns to need both. With modality dropout p,
each sample of a step loses either with probability p, and one of them comes back where both would
be lost. So of two each is absent with probability :math:`p - p^2/2`, and the model learns

.. math:: \min_\theta E_m \big[\ell(f_\theta(m \odot x), y)\big],\qquad P(m_i = 0) = p - p^2/2,

that is, to tell what it can from what is there, and loses less accuracy where a sensor fails. It is
judged by a contiguous fifth of each class of HTAD, home tasks heard and felt [GC21].
"""

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, WARM

torch.set_num_threads(1)
data, bars, lost = pf.data.htad(), {}, {}
learn, test = pf.data.folds_of_blocks(data.target, 5)[0]
sets = pf.data.holdout(data.samples(learn), generator=torch.Generator().manual_seed(0))
for dropout in (0.0, 0.3):
    model = pf.training.FusionModel.build(sets, "pnp")
    pf.training.train(model, sets, pf.training.Recipe(epochs=20, modality_dropout=dropout))
    found = {"all there": pf.training.evaluate(model, data.samples(test))}
    for name, one in pf.training.without_each(model, data.samples(test)).items():
        found[f"without {name}"] = one
    bars[dropout] = {name: one["accuracy"] for name, one in found.items()}
    whole, *rest = bars[dropout].values()
    lost[dropout] = whole - sum(rest) / len(rest)
    print(f"modality dropout {dropout}:", {k: round(v, 3) for k, v in bars[dropout].items()})
assert lost[0.3] < lost[0.0]
plt.style.use(pf.visualize.LIGHT)
_, axes = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
for shift, color, hatch, (dropout, one) in zip(
    (-0.2, 0.2), (COOL[1], WARM[0]), ("//", ""), bars.items(), strict=True
):
    places, label = [k + shift for k in range(len(one))], f"modality dropout {dropout}"
    axes.bar_label(
        axes.bar(places, one.values(), 0.4, color=color, hatch=hatch, label=label), fmt="%.2f"
    )
axes.set_xticks(range(len(one)), one)
axes.set(ylabel="accuracy", ylim=(0, 1.15))
axes.set_title(f"A failed sensor costs {lost[0.0]:.2f}, with modality dropout {lost[0.3]:.2f}")
axes.legend(loc="upper right", ncols=2)
plt.show()
