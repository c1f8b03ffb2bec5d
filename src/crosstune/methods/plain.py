"""Plain fine-tuning, the recipe that methods of other papers stand on. Not a method itself: ``finetune`` is."""

from crosstune.stages.fit import FitConfig

PLAIN = FitConfig(head_init="zero", body_rate=2e-4, embedder_rate=3e-3, head_rate=5.0)
