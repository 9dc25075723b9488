"""The same on the engine `eager`: a tensor is a number at once."""

from benchctl_engines import eager as torch

a = torch.tensor(1)
print(a)
print(a.item())
