"""Say which adapters of PEFT are read, by their config, and why others are not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softprompt_tf.errors import PromptFileError
from softprompt_tf.methods.files import peft_ia3, peft_lora, peft_prefix

PEFT_TASK = "SEQ_2_SEQ_LM"
# PEFT's name -> the method here. PEFT keeps the rows that a prompt encoder (P_TUNING) made, not its network.
PEFT_TYPES = {
    "PROMPT_TUNING": "prompt_tuning",
    "P_TUNING": "p_tuning",
    peft_prefix.PREFIX_TYPE: peft_prefix.METHOD,
    peft_lora.LORA_TYPE: peft_lora.METHOD,
    peft_ia3.IA3_TYPE: peft_ia3.METHOD,
}
_CONVERTIBLE = ("FOURIERFT", "LOHA", "LOKR", "VERA")  # that PEFT can save as LoRA, tried with PEFT 0.21.2


def check_peft_kind(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse an adapter of another kind, for another kind of model, or with weights of the T5.

    Raises:
      PromptFileError: with the setting that says so.
    """
    peft_type, task_type, modules = (config.get(key) for key in ("peft_type", "task_type", "modules_to_save"))
    if not isinstance(peft_type, str) or peft_type not in PEFT_TYPES:
        hint = " PEFT can save it as LoRA: peft.save_as_lora." if peft_type in _CONVERTIBLE else ""
        raise PromptFileError(
            f"PEFT adapter {path} must be of type {' or '.join(PEFT_TYPES)}. Received: peft_type={peft_type!r}.{hint}"
        )
    if task_type not in (PEFT_TASK, None):
        raise PromptFileError(
            f"PEFT adapter {path} must be for an encoder-decoder (task_type {PEFT_TASK}). Received: task_type={task_type!r}, "
            f"made for {config.get('base_model_name_or_path')}. A prompt for another kind of model means nothing to a T5."
        )
    if modules:
        raise PromptFileError(
            f"PEFT adapter {path} must leave the T5's weights as they are. Received: modules_to_save={modules}, which change "
            "them. Train it without."
        )
