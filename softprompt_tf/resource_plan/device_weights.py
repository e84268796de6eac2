"""The bytes of a T5's weights on each of several devices, divided as `load_t5(..., devices=...)` divides its layers."""

from dataclasses import replace

from softprompt_tf.backbones.loading.consecutive_parts import consecutive_parts
from softprompt_tf.errors import ConfigError
from softprompt_tf.resource_plan.backbone_form import BackboneForm
from softprompt_tf.resource_plan.memory import weight_bytes
from softprompt_tf.shown_numbers import counted


def device_weights(
    form: BackboneForm, compute_bytes: int, quantization: str | None, num_devices: int
) -> tuple[int, ...]:
    """Return the bytes on each device: layers in order, the table on the first one, an untied head on the last.

    Raises:
      ConfigError: if there are more devices than layers.
    """
    if num_devices > form.num_layers:
        raise ConfigError(
            f"A device must hold at least one layer. Received: devices={num_devices} for {counted(form.num_layers, 'layer')}."
        )
    # Layers are divided by what they take before they are quantized.
    ends = consecutive_parts(tuple(_sizes(form, compute_bytes, None)), num_devices)
    sizes = _sizes(form, compute_bytes, quantization)
    norm, last_of_encoder = compute_bytes * form.sizes.hidden_dim, form.sizes.encoder_layers - 1
    for last in (last_of_encoder, len(sizes) - 1):
        sizes[last] += norm  # behind each stack
    return tuple(sum(sizes[start:end]) for start, end in zip((0, *ends), ends, strict=False))


def _sizes(form: BackboneForm, compute_bytes: int, quantization: str | None) -> list[int]:
    """Return the bytes of each layer, with the tables that are on its device."""

    def of(encoder: int, decoder: int) -> int:
        sizes = replace(form.sizes, encoder_layers=encoder, decoder_layers=decoder)
        return weight_bytes(replace(form, sizes=sizes), compute_bytes, quantization)

    without = of(0, 0)
    encoder, decoder = form.sizes.encoder_layers, form.sizes.decoder_layers
    sizes = [of(1, 0) - without] * encoder + [of(0, 1) - without] * decoder
    biases = compute_bytes * form.relative_buckets * form.sizes.num_heads
    sizes[0] += biases + compute_bytes * form.table_values
    sizes[encoder] += biases
    if not form.has_tied_head:
        sizes[-1] += compute_bytes * form.table_values
    return sizes
