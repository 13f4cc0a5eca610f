"""The primitives: each op is one function on arrays with its gradient rules beside it."""
