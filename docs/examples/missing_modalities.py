r"""A sensor that fails: the accuracy that is lost, and how to lose less.

A model that always saw audio and motion together learns to need both. With modality dropout p,
each sample of a step lacks either with probability p (never both), so the model learns

.. math:: \min_\theta E_m \big[\ell(f_\theta(m \odot x), y)\big],\qquad P(m_i = 0) = p,

that is, to tell what it can from what is there. It is judged by a contiguous fifth of each class of
HTAD, home tasks heard and felt.
"""

import torch

import pnpfusion as pf

torch.set_num_threads(1)  # on a busy machine more threads can be much slower
data, lost = pf.data.htad(), {}
learn, test = pf.data.folds_of_blocks(data.target, 5)[0]
sets = pf.data.holdout(data.samples(learn), generator=torch.Generator().manual_seed(0))
for dropout in (0.0, 0.3):
    model = pf.training.FusionModel.build(sets, "pnp")
    recipe = pf.training.Recipe(epochs=20, modality_dropout=dropout)
    pf.training.train(model, sets, recipe)
    whole = pf.training.evaluate(model, data.samples(test))["accuracy"]
    found = pf.training.without_each(model, data.samples(test))
    told = ", ".join(f"without {name} {one['accuracy']:.3f}" for name, one in found.items())
    print(f"modality dropout {dropout}: all there {whole:.3f}, {told}")
    lost[dropout] = sum(whole - one["accuracy"] for one in found.values()) / len(found)
print(f"lost on average: {lost[0.0]:.3f} without, {lost[0.3]:.3f} with modality dropout")
assert lost[0.3] < lost[0.0]
