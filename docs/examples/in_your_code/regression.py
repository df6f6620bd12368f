r"""
Numbers instead of classes
==========================

Tomorrow's volatility, of which the best predictor is known. The squared error of none is expected
below that of the law that made the markets,

.. math:: E\,(\hat y - y)^2 \ge \sigma^2 = 0.16, \qquad
          \text{and without a look at the news} \ge \sigma^2 + g^2 .

A model that is better than this second bound has learned to multiply what the news say by how much
is traded.
"""

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, INK

torch.set_num_threads(1)  # on a busy machine more threads can be much slower
law = pf.data.VolatilityLaw()
data = pf.data.volatility(generator=torch.Generator().manual_seed(0))
model = pf.training.FusionModel.build(data, "pnp")
pf.training.train(model, data, pf.training.Recipe(epochs=10, batch=128, input_dropout=0.0))
found = pf.training.evaluate(model, data.split("test"))
least, deaf = law.best_loss(), law.best_loss(absent=["sentiment"])
print(f"squared error {found['mse']:.3f}, R2 {found['r2']:.3f} on {len(data.splits['test'])} days")
print(f"expected of the best predictor {least:.3f}, of the best without the news {deaf:.3f}")
assert found["mse"] < deaf

test = data.split("test")
told = pf.training.predict(model, test).flatten()
plt.style.use(pf.visualize.LIGHT)
_, axes = plt.subplots(figsize=(4.4, 3.8), layout="constrained")
axes.plot(told, test.target.flatten(), ".", color=COOL[0], ms=3, alpha=0.5, mew=0)
axes.axline((-9, -9), slope=1, color=INK, lw=0.8)
axes.set(xlabel="log-variance told", ylabel="log-variance of the next day", aspect="equal")
axes.set_title(f"Error {found['mse']:.2f}, at best {least:.2f}, without the news {deaf:.2f}")
plt.show()
