"""`softprompt convert`: a T5 or a prompt from one format to another, recognised by its content."""

from pathlib import Path

from softprompt_tf.backbones import load_t5, write_preset
from softprompt_tf.errors import ConfigError
from softprompt_tf.files.local_paths import local_target
from softprompt_tf.methods import load_prompt, write_adapterhub_adapter, write_npy, write_peft_adapter, write_prompt
from softprompt_tf.methods.files.adapter_config import ADAPTER_CONFIG, is_of_adapters
from softprompt_tf.methods.task_tensors import ADAPTERS, prompt_name
from softprompt_tf.shown_numbers import counted

_PROMPT_FILES = (".safetensors", ".npy")


def convert(
    source: str | Path, target: str | Path, *, dtype: str | None = None, vocabulary: str | Path | None = None
) -> str:
    """Convert a prompt, or a backbone to a KerasHub preset directory.

    Args:
      source: a prompt (`.safetensors`, `.npy`, or the folder of a PEFT or AdapterHub adapter) or a backbone (whatever
        `load_t5` takes).
      target: for a prompt a `.safetensors` or `.npy` file or a folder (an adapter of PEFT; of AdapterHub
        for adapters); for a backbone a directory.
      dtype: in which a backbone's weights are stored: "float32" (default), "bfloat16" or "float16".
      vocabulary: a SentencePiece file, for a backbone that has none beside it.

    Returns:
      One line that says what was written.

    Raises:
      ConfigError: if the target's name or an option does not go with the source.
      BackboneError, PromptFileError: if the source cannot be read or the target cannot be written.
    """
    target = local_target(target, error_type=ConfigError)
    if Path(source).suffix in _PROMPT_FILES or is_of_adapters(Path(source)):
        if dtype is not None or vocabulary is not None:
            raise ConfigError(f"`dtype` and `vocabulary` are for backbones. Received: the prompt {source}.")
        return _convert_prompt(Path(source), target)
    if target.suffix in _PROMPT_FILES:
        raise ConfigError(f"A backbone becomes a preset directory. Received: the output {target} for {source}.")
    return _convert_backbone(source, target, dtype=dtype or "float32", vocabulary=vocabulary)


def _convert_prompt(source: Path, target: Path) -> str:
    prompt = load_prompt(source)
    to_folder = write_adapterhub_adapter if set(prompt.tensors) & set(ADAPTERS) else write_peft_adapter
    write = {".safetensors": write_prompt, ".npy": write_npy, "": to_folder}.get(target.suffix)
    if write is None:
        raise ConfigError(f"The output must end in .safetensors or .npy, or be a folder. Received: {target}.")
    if not target.suffix and _holds_others(target):
        raise ConfigError(f"An adapter's folder must be new, empty or an adapter already. Received: {target}.")
    write(target, prompt)
    if prompt_name(prompt.tensors):
        return f"{target}: prompt of {counted(prompt.length, 'row')}, width {prompt.hidden_dim}"
    return f"{target}: {prompt.method}, {', '.join(prompt.tensors)}"


def _convert_backbone(source: str | Path, target: Path, *, dtype: str, vocabulary: str | Path | None) -> str:
    if _holds_others(target) or (target / ADAPTER_CONFIG).exists():
        raise ConfigError(f"The output must be a new or an empty directory. Received: {target}.")
    # bfloat16 is read as it is; float16 computes nowhere, so it is rounded to from float32.
    t5 = load_t5(str(source), dtype="bfloat16" if dtype == "bfloat16" else "float32", vocabulary=vocabulary)
    write_preset(t5.backbone, t5.tokenizer.proto, target, dtype=dtype)
    millions = t5.backbone.count_params() / 1e6
    return (
        f"{target}: KerasHub preset, {millions:,.1f} million parameters in {dtype}, {t5.tokenizer.vocabulary_size():,} pieces, "
        f"fingerprint {t5.fingerprint}"
    )


def _holds_others(target: Path) -> bool:
    """Say whether something other than an adapter stands where a folder is to be written."""
    if not target.is_dir():
        return target.exists()
    return any(target.iterdir()) and not (target / ADAPTER_CONFIG).exists()
