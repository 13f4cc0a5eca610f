"""Arrays in, arrays out: the loops under the ops. Nothing here knows a Tensor; parameters arrive normalised."""
