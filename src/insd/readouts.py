"""Whether a readout leaves a null space, in which activity is compared and deflated."""

import numpy as np
from jaxtyping import Float


def why_no_null_space(output_weights: Float[np.ndarray, "output unit"]) -> str | None:
    """Why a readout leaves no null space, or None if it does.

    The projector on it (`insd.predictivity.null_projector`) needs independent outputs, fewer than units.
    """
    outputs, units = output_weights.shape
    if outputs >= units:
        return f"{outputs} output(s) of {units} units leave no null space"
    # To the precision that weights are stored in; the projector is found in double precision.
    singular = np.linalg.svd(output_weights.astype(np.float64), compute_uv=False)
    rank = int((singular > units * np.finfo(np.float32).eps * singular[0]).sum())
    if rank < outputs:
        return (
            f"{outputs - rank} of {outputs} outputs are zero or linear combinations of others: no null space is defined"
        )
    return None
