"""Plans of resources: the memory, the work and the time that a method on a T5 takes, before anything is loaded.

Not to be confused with plans of experiments, `softprompt_tf.experiments.plan`, which say what is trained in which order.
"""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.resource_plan.fitting import Fit
    from softprompt_tf.resource_plan.rate import measured_rate
    from softprompt_tf.resource_plan.resource_plan import ResourcePlan, plan

__all__ = ["Fit", "ResourcePlan", "measured_rate", "plan"]

_HOME = {"Fit": "fitting", "ResourcePlan": "resource_plan", "measured_rate": "rate", "plan": "resource_plan"}

__getattr__ = lazy_names(__name__, _HOME)
