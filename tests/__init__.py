"""What must be set before JAX is imported: `import jax` sets it, too."""

import os

# XLA logs long warnings about its own tuning flags in cached programs, see `backend.quieten`.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
