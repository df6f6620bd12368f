"""Where tensors go into compiled code (`solvers/kernels`) and come back, gradients and all."""
