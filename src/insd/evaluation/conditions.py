"""The perturbations of trained networks by name."""

PERTURBATIONS: dict[str, tuple[str, ...]] = {
    "unperturbed": (),
    "noise": ("noise_level",),
    "jitter": ("jitter_level", "draw"),
    "silence": ("silenced_share", "draw"),
    "kick": ("kick_level",),
    "half_step": (),
}
"""The perturbations of trained networks, with the dimensions of a network's loss and score under each."""
