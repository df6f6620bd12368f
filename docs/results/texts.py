"""What the page says of itself."""

HEAD = """\
# When does which fusion help?

Everything on this page, numbers, sentences and pictures, is made by

```
make results                        # writes this page; what is known already is not done again
make results ARGS="--only htad"     # one set: prints its table
make results ARGS=--dry-run         # what there is to do, and how long it takes
```

"""
HOW = """\
## How it was measured

All trained models have the same encoders (linear, ReLU), head (linear), recipe and splits; only
the layer between differs. {recipe} {tuning} Classical
models choose the strength of their regularisation from four or five by the same validation
samples. `only:NAME` is the network with one modality alone. Nothing in a comparison is selected on
test samples. But the recipe, the sizes of the made-up sets, and how much charge PNP's cells get and
how it is read, were settled on trials with these sets whose test scores were seen; other seeds
(`Size.seeds` in `docs/results/plans.py`) and other sets are the fair judges of that.

Intervals are Student's, at 95 %, over the means of {seeds} seeds; differences are paired by seed
and fold. A model is *above* another where all of the interval of their difference is, *below*
likewise, else the question is open. The p is by flipping signs, corrected for all models on a set
(Holm); n differences can give none below 2 / 2^n, which without folds is {least:g}. With so few
seeds small effects stay open, and intervals tell what other seeds would give on these samples, not
what other samples would.

In the tables, *one modality missing* is the mean score where each in turn is absent, *under noise*
the mean score over noise of all features from 0 to {noise:g} deviations; iterations and the
unconverged share are of the solves on validation samples. kFLOP of an answer are its products of
matrices and, from their equations, its PNP cells; other work element by element is left out. Times
are the processor's, of one thread.

"""
