r"""Numbers instead of classes: tomorrow's volatility, of which the best predictor is known.

The squared error of no predictor is expected below that of the law that made the markets, σ² =
0.16; without a look at the news it is σ² + g² or more. A model that is better than this second
bound has learned to multiply what the news say by how much is traded.
"""

import torch

import pnpfusion as pf

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
