"""An environment with the interface of neurogym's trial-based tasks, registered with Gymnasium when it is imported."""

import gymnasium
import numpy as np


class TwoAlternatives(gymnasium.Env):
    """Fixate while two noisy inputs are shown, then say which was larger."""

    def __init__(self, dt=100, stimulus=400, sigma=0.2):
        self.dt, self.stimulus, self.sigma = dt, stimulus, sigma
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)
        self.random = np.random.RandomState(0)

    def seed(self, number):
        self.random = np.random.RandomState(number)

    def new_trial(self):
        right, coherence = self.random.randint(1, 3), self.random.choice([0.2, 0.4, 0.8])
        # Trials differ in length.
        stimulus = round(self.random.uniform(0.5, 1) * self.stimulus / self.dt)
        length = stimulus + round(200 / self.dt)
        self.ob = np.zeros((length, 3), np.float32)
        self.ob[:stimulus] = [1, 0.5, 0.5] + self.sigma * self.random.standard_normal((stimulus, 3))
        self.ob[:stimulus, right] += coherence / 2
        self.gt = np.where(np.arange(length) < stimulus, 0, right)
        return {"coherence": coherence, "right": right}


gymnasium.register("TwoAlternatives-v0", TwoAlternatives)
